/**
 * Random lives of a library: commands of autodj, faults while they run, an application that does as it likes between.
 * After each command every content that existed still exists, and after one more run of everything the rows tell the
 * truth. A life that fails is shrunk, and told as a script that CAMPAIGN_SCRIPT runs again.
 *
 * CAMPAIGN_RUNS lives (50), CAMPAIGN_SEED for others, CAMPAIGN_SCRIPT (JSON) for one; on PostgreSQL where
 * TEST_POSTGRES_URL names one.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Deed, type Fault, type Step, type Verb, World } from './world.ts'

const runs = Number(process.env['CAMPAIGN_RUNS'] ?? 50)
const seed = Number(process.env['CAMPAIGN_SEED'] ?? 20_261_128)
const script = process.env['CAMPAIGN_SCRIPT']

const pick = fc.nat(1_000)
const verb = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Verb>('upload-local') },
  { weight: 4, arbitrary: fc.constant<Verb>('upload-local --delete-local') },
  { weight: 3, arbitrary: fc.constant<Verb>('import') },
  { weight: 5, arbitrary: fc.constant<Verb>('reconcile') },
  { weight: 6, arbitrary: fc.constant<Verb>('apply') },
  { weight: 3, arbitrary: fc.constant<Verb>('undo') },
  { weight: 4, arbitrary: fc.constant<Verb>('cleanup') },
  { weight: 2, arbitrary: fc.constant<Verb>('restore') },
  { weight: 2, arbitrary: fc.constant<Verb>('restore --plan') },
  { weight: 3, arbitrary: fc.constant<Verb>('fetch') },
  { weight: 1, arbitrary: fc.constant<Verb>('analyze --check') },
  { weight: 2, arbitrary: fc.constant<Verb>('upload-local --enqueue') },
  { weight: 2, arbitrary: fc.constant<Verb>('upload-local --delete-local --enqueue') },
  { weight: 1, arbitrary: fc.constant<Verb>('fetch --enqueue') },
  { weight: 1, arbitrary: fc.constant<Verb>('analyze --enqueue') },
  { weight: 3, arbitrary: fc.constant<Verb>('worker') },
)
const deed = fc.constantFrom<Deed>(
  'adds a track',
  'adds a track',
  'adds a file',
  'edits a file in place',
  'replaces a file',
  'renames a file',
  'deletes a row',
  'says LOCAL',
  'forgets a key',
  'writes a key as URL',
  'renames an object',
  'doubles an object',
  'gives an object other headers',
  'puts a foreign object',
  'backs the database up',
  'restores the backup',
  'empties the table',
  'unmounts the folder',
  'mounts the folder',
  'suspends versioning',
  'enables versioning',
  'moves the clock on',
  'moves the clock back',
)
const at = fc.nat(12)
const fault: fc.Arbitrary<Fault> = fc.oneof(
  fc.record({ kind: fc.constant('lost answer' as const), at }),
  fc.record({ kind: fc.constant('crash' as const), at }),
  fc.record({ kind: fc.constant('kill' as const), at }),
  fc.record({ kind: fc.constant('stop' as const), at }),
  fc.record({ kind: fc.constant('locked rows' as const), at }),
  fc.record({ kind: fc.constant('application' as const), at, does: deed }),
)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ run: verb, pick }) },
  { weight: 4, arbitrary: fc.record({ run: verb, pick, fault }) },
  { weight: 1, arbitrary: fc.record({ both: fc.tuple(verb, verb), pick }) },
  { weight: 5, arbitrary: fc.record({ deed, pick }) },
)
const life = fc.array(step, { minLength: 8, maxLength: 16, size: 'max' })

let lives = 0

async function live(world: World, steps: readonly Step[]): Promise<void> {
  if (++lives % 25 === 0) console.info(`${lives} lives`)
  await world.reset()
  const told: string[] = []
  try {
    for (const one of steps) told.push(await world.step(one))
    await world.heal()
  } catch (error) {
    const lines = [(error as Error).message, ...told.map((line, index) => `${index + 1}. ${line}`)]
    // At once: to shrink it takes a while.
    console.info(lines.join('\n  '))
    throw new Error(lines.join('\n  '), { cause: error })
  }
}

describe.each([
  ['without versioning', false],
  ['with versioning', true],
])('lives of a library on a bucket %s', (_, versioned) => {
  test('no content is lost, and in the end the rows tell the truth', { timeout: 36_000_000 }, async () => {
    const world = await World.open(versioned)
    try {
      if (script !== undefined) return await live(world, JSON.parse(script) as Step[])
      const result = await fc.check(
        fc.asyncProperty(life, steps => live(world, steps)),
        { numRuns: Math.ceil(runs / 2), seed: seed + Number(versioned), endOnFailure: false },
      )
      console.info(
        Object.entries({ lives: result.numRuns, ...world.counts })
          .map(([name, count]) => `${count} ${name}`)
          .join(', '),
      )
      if (result.failed) {
        const [steps] = result.counterexample ?? []
        expect.fail(
          `${(result.errorInstance as Error)?.message}\n\n  CAMPAIGN_SCRIPT='${JSON.stringify(steps)}'`,
        )
      }
    } finally {
      await world.close()
    }
  })
})
