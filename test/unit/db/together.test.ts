import type { Knex } from 'knex'
import { describe, expect, it } from 'vitest'
import { together } from '../../../src/db/together.ts'

const [one, another] = [{}, {}] as unknown as [Knex, Knex]

/** A statement that is under way until it is told to end. */
function heldBack() {
  const asked: { knex: Knex; questions: readonly number[]; end: () => void; fail: (error: Error) => void }[] =
    []
  const ask = together((knex, questions: readonly number[]) => {
    const { promise, resolve, reject } = Promise.withResolvers<number[]>()
    asked.push({
      knex,
      questions,
      end: () => resolve(questions.map(question => 10 * question)),
      fail: reject,
    })
    return promise
  })
  return { ask, asked }
}

describe('together', () => {
  it('asks the first at once, and what comes meanwhile in one statement after it', async () => {
    const { ask, asked } = heldBack()
    const answers = [1, 2, 3].map(question => ask(one, question))
    expect(asked.map(({ questions }) => questions)).toEqual([[1]])
    asked[0]!.end()
    expect(await answers[0]).toBe(10)
    expect(asked.map(({ questions }) => questions)).toEqual([[1], [2, 3]])
    asked[1]!.end()
    expect(await Promise.all(answers)).toEqual([10, 20, 30])
    const later = ask(one, 4)
    asked[2]!.end()
    expect(await later).toBe(40)
  })

  it('asks each database of its own, and at most 256 at once', async () => {
    const { ask, asked } = heldBack()
    const answers = [ask(one, 1), ask(another, 2), ...Array.from({ length: 300 }, (_, at) => ask(one, at))]
    expect(asked.map(({ knex }) => knex)).toEqual([one, another])
    for (let at = 0; at < 4; at += 1) {
      asked[at]!.end()
      await new Promise(setImmediate)
    }
    expect(asked.map(({ questions }) => questions.length)).toEqual([1, 1, 256, 44])
    expect((await Promise.all(answers)).at(-1)).toBe(2990)
  })

  it('a failure is that of all who asked, and of nobody after them', async () => {
    const { ask, asked } = heldBack()
    const answers = Promise.allSettled([1, 2, 3].map(question => ask(one, question)))
    asked[0]!.end()
    await new Promise(setImmediate)
    asked[1]!.fail(new Error('gone'))
    expect((await answers).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
    const later = ask(one, 5)
    asked[2]!.end()
    expect(await later).toBe(50)
  })
})
