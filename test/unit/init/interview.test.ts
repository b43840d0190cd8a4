import { expect, test } from 'vitest'
import { type Answers, type AnswerVerdict, interview, type Question } from '../../../src/init/interview.ts'
import type { Variable } from '../../../src/settings.ts'

const fine: AnswerVerdict = { state: 'ok', cause: 'fine' }
const bad = (more: Partial<AnswerVerdict> = {}): AnswerVerdict => ({
  state: 'failure',
  cause: 'bad',
  cure: 'Mend it.',
  ...more,
})

/** @param say the answers in the order of the prompts */
async function run(questions: readonly Question[], say: readonly string[], known: Answers = {}) {
  const prompts: string[] = []
  const rest = [...say]
  const end = await interview(
    questions,
    known,
    {
      async ask(prompt, { secret }) {
        prompts.push(`${prompt}${secret ? '*' : ''}`)
        return rest.shift() ?? ''
      },
      say: text => void prompts.push(text),
    },
    () => {},
  )
  return { ...end, prompts, unused: rest }
}

const plain = (variable: Variable, text: string, more: Partial<Question> = {}): Question => ({
  variable,
  text,
  ...more,
})
const three = [plain('S3_ENDPOINT', 'One'), plain('AWS_REGION', 'Two'), plain('S3_BUCKET_NAME', 'Three')]

test('< goes back one question, as often as there are some, and what was answered is offered again', async () => {
  const { answers, prompts } = await run(three, ['<', 'a', 'b', '<', '<', 'A', '', 'c'])
  expect(prompts).toEqual([
    'One: ',
    '  This is the first question.',
    'One: ',
    'Two: ',
    'Three: ',
    'Two [b]: ',
    'One [a]: ',
    'Two [b]: ',
    'Three: ',
  ])
  expect(answers).toEqual({ S3_ENDPOINT: 'A', AWS_REGION: 'b', S3_BUCKET_NAME: 'c' })
})

test('< passes over questions that were not asked', async () => {
  const [one, two, third] = three
  const { prompts } = await run([one!, { ...two!, when: () => false }, third!], ['a', '<', 'x', 'c'])
  expect(prompts).toEqual(['One: ', 'Three: ', 'One [a]: ', 'Three: '])
})

test('a failure that lies with an earlier answer asks that again, and < from there leads before it', async () => {
  let tries = 0
  const [one, two, last] = three
  const check = async () => (tries++ === 0 ? bad({ liesWith: 'AWS_REGION' }) : fine)
  const { prompts, failures } = await run(
    [one!, two!, { ...last!, check }],
    ['a', 'b', 'c', '<', '', 'B', ''],
  )
  expect(prompts).toEqual(['One: ', 'Two: ', 'Three: ', 'Two [b]: ', 'One [a]: ', 'Two [b]: ', 'Three [c]: '])
  expect(failures).toEqual([])
})

test('of an answer that is wrong in part only that part is asked for; no answer means the whole', async () => {
  const url = plain('DATABASE_URL', 'Database', {
    secret: true,
    shown: text => text.replace(/:[^:@]*@/, '@'),
    check: async ({ DATABASE_URL }) =>
      DATABASE_URL?.includes(':right@')
        ? fine
        : bad({ part: { text: 'Password of u', complete: password => `pg://u:${password}@h` } }),
  })
  const once = await run([url], ['pg://u:wrong@h', 'right'])
  expect(once.prompts).toEqual(['Database: *', 'Password of u: *'])
  expect(once.answers).toEqual({ DATABASE_URL: 'pg://u:right@h' })
  const whole = await run([url], ['pg://u:wrong@h', '', 'pg://x:right@y'])
  expect(whole.prompts).toEqual(['Database: *', 'Password of u: *', 'Database [pg://u@h; Enter keeps it]: *'])
  expect(whole.answers).toEqual({ DATABASE_URL: 'pg://x:right@y' })
})

test('two questions that blame each other end too', async () => {
  const [one, two] = three
  const { prompts, failures } = await run(
    [
      { ...one!, check: async () => bad() },
      { ...two!, check: async () => bad({ liesWith: 'S3_ENDPOINT' }) },
    ],
    Array(50).fill('x'),
  )
  expect(failures.map(({ variable }) => variable)).toEqual(['S3_ENDPOINT', 'AWS_REGION'])
  expect(prompts.length).toBeLessThan(12)
})
