/** A plan's journal, across runs and kills; a plan that is none. */
import { execFileSync } from 'node:child_process'
import { appendFile, open, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { ExitCode } from '../../../src/errors.ts'
import { PlanJournal } from '../../../src/plan/journal.ts'
import { checkPlan, refuseUnwritable } from '../../../src/plan/plan-file.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

let folder: string
beforeAll(async () => {
  folder = temporaryFolder('journal')
})

test('what undoing needs is read back, the newest of each item, in this run and in the next', async () => {
  const plan = path.join(folder, 'a.plan')
  const first = await PlanJournal.open(plan, 'plan-1', 1_000)
  for (let seq = 1; seq <= 1_000; seq++) {
    await first.write([
      { seq, state: 'begun', trace: { updatedAt: `2026-11-26T00:00:00.${String(seq).padStart(6, '0')}` } },
    ])
  }
  await first.write([
    { seq: 3, state: 'done', trace: {} },
    { seq: 4, state: 'failed', reason: 'schön\u2028 war’s' },
    { seq: 5, state: 'done', trace: { etag: 'new' } },
    { seq: 6, state: 'done', trace: { updatedAt: null } },
  ])
  for (const read of [first, undefined]) {
    const journal = read ?? (await PlanJournal.open(plan, 'plan-1', 1_000))
    expect(journal.state(3)).toBe('done')
    // Begun: that it failed does not say that it had no effect.
    expect(journal.state(4)).toBe('begun')
    expect(await journal.trace(3)).toEqual({ updatedAt: '2026-11-26T00:00:00.000003' })
    expect(await journal.trace(4)).toEqual({ updatedAt: '2026-11-26T00:00:00.000004' })
    expect(await journal.trace(5)).toEqual({ etag: 'new' })
    expect(await journal.trace(6)).toEqual({ updatedAt: null })
    expect(await journal.trace(1_000)).toEqual({ updatedAt: '2026-11-26T00:00:00.001000' })
    await journal.close()
  }
})

test('a full disk cuts a line short: it is an error, and what comes after is whole', async () => {
  const plan = path.join(folder, 'full.plan')
  const journal = await PlanJournal.open(plan, 'plan-full', 100)
  const files = await fileHandles()
  const { write } = files
  files.write = async function (...args) {
    const [bytes, at, length] = args as [Uint8Array, number, number]
    // As Linux does it: what fits is written, and the next write says why no more is.
    files.write = async () => {
      throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
    }
    return write.call(this, bytes, at, Math.floor(length / 2))
  }
  const entries = Array.from({ length: 10 }, (_, index) => ({ seq: index + 1, state: 'begun' as const }))
  await expect(journal.write(entries)).rejects.toMatchObject({ code: 'ENOSPC' })
  files.write = write
  await journal.write([{ seq: 50, state: 'done', trace: { etag: 'fifty' } }])
  expect(await journal.trace(50)).toEqual({ etag: 'fifty' })
  await journal.close()
  const again = await PlanJournal.open(plan, 'plan-full', 100)
  expect([again.state(1), again.state(10), again.state(50)]).toEqual(['begun', 'none', 'done'])
  expect(await again.trace(50)).toEqual({ etag: 'fifty' })
  await again.close()
})

/** What all open files have in common, to make them fail. */
async function fileHandles(): Promise<{ write: (this: unknown, ...args: unknown[]) => Promise<unknown> }> {
  await using one = await open(import.meta.filename)
  return Object.getPrototypeOf(one)
}

test('a line that a kill has cut, in the middle of a character, spoils nothing after it', async () => {
  const plan = path.join(folder, 'b.plan')
  const first = await PlanJournal.open(plan, 'plan-2', 9)
  await first.write([{ seq: 1, state: 'done', trace: { etag: 'one' } }])
  await first.close()
  await appendFile(`${plan}.journal`, Buffer.from('{"seq":2,"state":"failed","reason":"schö').subarray(0, -1))
  const second = await PlanJournal.open(plan, 'plan-2', 9)
  expect(second.state(2)).toBe('none')
  await second.write([{ seq: 2, state: 'done', trace: { etag: 'two' } }])
  expect(await second.trace(2)).toEqual({ etag: 'two' })
  await second.close()
  const third = await PlanJournal.open(plan, 'plan-2', 9)
  expect([await third.trace(1), await third.trace(2), await third.trace(3)]).toEqual([
    { etag: 'one' },
    { etag: 'two' },
    {},
  ])
  await third.close()
  expect((await readFile(`${plan}.journal`, 'latin1')).endsWith('\n')).toBe(true)
})

test('a folder instead of a plan is refused as what it is, not as a bug', async () => {
  await expect(checkPlan(folder)).rejects.toMatchObject({
    exitCode: ExitCode.usage,
    message: `cannot read the plan ${folder}: illegal operation on a directory`,
  })
})

test('a journal of another plan is refused, and one that cannot be written', async () => {
  const plan = path.join(folder, 'mine.plan')
  await (await PlanJournal.open(plan, 'mine', 1)).close()
  await expect(PlanJournal.open(plan, 'other', 1)).rejects.toMatchObject({
    code: 'plan.journal',
    exitCode: ExitCode.fatal,
    message: `${plan}.journal belongs to another plan`,
  })
  // Its own, once more: what was refused has not changed it.
  await (await PlanJournal.open(plan, 'mine', 1)).close()
  const nowhere = path.join(folder, 'nowhere/a.plan')
  await expect(PlanJournal.open(nowhere, 'mine', 1)).rejects.toMatchObject({
    code: 'plan.journal',
    exitCode: ExitCode.usage,
    message: `cannot write ${nowhere}.journal: no such file or directory`,
  })
})

test('a plan that cannot be written is refused before the work, and at its end', async () => {
  const nowhere = path.join(folder, 'nowhere/a.plan')
  const refused = {
    code: 'plan.write',
    exitCode: ExitCode.usage,
    message: `cannot write ${nowhere}: no such file or directory`,
  }
  await expect(refuseUnwritable(nowhere)).rejects.toMatchObject(refused)
  await refuseUnwritable(path.join(folder, 'new.plan'))
  const pipe = path.join(folder, 'pipe.plan')
  execFileSync('mkfifo', [pipe])
  // As root one would otherwise make a file of /dev/null: not tried with the machine's own.
  for (const one of [folder, pipe])
    await expect(refuseUnwritable(one)).rejects.toMatchObject({
      code: 'plan.write',
      exitCode: ExitCode.usage,
      message: `cannot write ${one}: it is not a file`,
    })
  await writeFile(path.join(folder, 'applied.plan.journal'), '')
  await expect(refuseUnwritable(path.join(folder, 'applied.plan'))).rejects.toMatchObject({
    code: 'plan.applied',
    cure: expect.stringContaining('move applied.plan and its journal away'),
  })
})
