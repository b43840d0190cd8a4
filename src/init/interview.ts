/** The questions of `autodj init`, each with the check of its answer. */
import type { Variable } from '../config.ts'
import type { Verdict } from '../doctor/check.ts'

/** Answers so far, by variable; unset is left out. */
export type Answers = Readonly<Partial<Record<Variable, string>>>

export interface Question {
  readonly variable: Variable
  /** what is asked, without a question mark */
  readonly text: string
  readonly secret?: boolean
  /** an answer must be given */
  readonly required?: boolean
  /** asked only when this holds */
  when?(answers: Answers): boolean
  /** what an empty answer means, unless the variable has a value already */
  readonly defaultAnswer?: string
  /** Tries the answer, together with those before it, against the real thing. A failure asks again. */
  check?(answers: Answers): Promise<Verdict>
}

/** A person at a terminal. */
export interface Prompter {
  /** The answer; empty for ENTER. Secrets are not echoed. */
  ask(prompt: string, options: { secret: boolean }): Promise<string>
  say(text: string): void
}

/** What was answered, and what did not pass its check and was kept all the same. */
export interface Interview {
  answers: Answers
  failures: readonly { variable: Variable; verdict: Verdict }[]
}

/** An answer that unsets what is set. */
const none = '-'
/** Wrong answers to one question before it is given up. */
const attempts = 3

/**
 * Asks the questions in order; without a prompter takes what is there. An answer that fails its check is asked for
 * again, three times; after that, and where nobody is there to ask, it stands among the failures.
 */
export async function interview(
  questions: readonly Question[],
  known: Answers,
  prompter: Prompter | undefined,
  onVerdict: (variable: Variable, verdict: Verdict) => void,
): Promise<Interview> {
  let answers: Answers = { ...known }
  const failures: { variable: Variable; verdict: Verdict }[] = []
  for (const question of questions) {
    const { variable, when, check, required } = question
    if (when !== undefined && !when(answers)) continue
    for (let attempt = 1; ; attempt++) {
      if (prompter !== undefined) answers = await askFor(question, answers, prompter)
      let verdict: Verdict | undefined
      if (answers[variable] === undefined) {
        if (required) {
          verdict = { state: 'failure', cause: `${variable} is not set`, cure: 'it is needed' }
        }
      } else verdict = await check?.(answers)
      if (verdict !== undefined) onVerdict(variable, verdict)
      if (verdict?.state !== 'failure') break
      if (prompter === undefined || attempt === attempts) {
        failures.push({ variable, verdict })
        break
      }
    }
  }
  return { answers, failures }
}

async function askFor(question: Question, answers: Answers, prompter: Prompter): Promise<Answers> {
  const { variable, text, secret = false, defaultAnswer } = question
  const current = answers[variable] ?? defaultAnswer
  const shown = current === undefined ? '' : secret ? ' [set; ENTER keeps it]' : ` [${current}]`
  const given = (await prompter.ask(`${text}${shown}: `, { secret })).trim()
  const answer = given === '' ? current : given === none ? undefined : given
  const { [variable]: _, ...others } = answers
  return answer === undefined ? others : { ...others, [variable]: answer }
}
