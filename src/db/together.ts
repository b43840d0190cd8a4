/** Questions of many, asked of the database in few statements. */
import type { Knex } from 'knex'

/** Questions to a statement. */
const atOnce = 256

interface Waiting<Question, Answer> {
  readonly question: Question
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

/**
 * Makes a function that asks one question, of one that asks many: what comes while a statement is under way goes into
 * the next, so that nothing waits for company, and a statement is never older than its question.
 *
 * @param ask answers in the order of the questions; what it throws all of them get
 */
export function together<Question, Answer>(
  ask: (knex: Knex, questions: readonly Question[]) => Promise<readonly Answer[]>,
): (knex: Knex, question: Question) => Promise<Answer> {
  const waiting = new WeakMap<Knex, Waiting<Question, Answer>[]>()
  const work = async (knex: Knex, queue: Waiting<Question, Answer>[]): Promise<void> => {
    while (queue.length > 0) {
      const group = queue.splice(0, atOnce)
      try {
        const answers = await ask(
          knex,
          group.map(({ question }) => question),
        )
        for (const [at, { resolve }] of group.entries()) resolve(answers[at] as Answer)
      } catch (error) {
        for (const { reject } of group) reject(error)
      }
    }
    waiting.delete(knex)
  }
  return (knex, question) =>
    new Promise((resolve, reject) => {
      const one = { question, resolve, reject }
      const queue = waiting.get(knex)
      if (queue !== undefined) queue.push(one)
      else {
        const begun = [one]
        waiting.set(knex, begun)
        void work(knex, begun)
      }
    })
}
