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
  check?(answers: Answers): Promise<AnswerVerdict>
}

/** A failure may lie with an earlier answer: a bucket that cannot be opened, with the secret. That one is asked again. */
export type AnswerVerdict = Verdict & { liesWith?: Variable }

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
 * again, from the question on that the failure lies with; after three times, and where nobody is there to ask, it
 * stands among the failures.
 */
export async function interview(
  questions: readonly Question[],
  known: Answers,
  prompter: Prompter | undefined,
  onVerdict: (variable: Variable, verdict: Verdict) => void,
): Promise<Interview> {
  let answers: Answers = { ...known }
  const failures = new Map<Variable, Verdict>()
  const attempted = new Map<Variable, number>()
  for (let at = 0; at < questions.length; at++) {
    const { variable, when, check, required } = questions[at]!
    failures.delete(variable)
    if (when !== undefined && !when(answers)) continue
    if (prompter !== undefined) answers = await askFor(questions[at]!, answers, prompter)
    let verdict: AnswerVerdict | undefined
    if (answers[variable] === undefined) {
      if (required) verdict = { state: 'failure', cause: 'not set', cure: 'it is needed' }
    } else verdict = await check?.(answers)
    if (verdict !== undefined) onVerdict(variable, verdict)
    if (verdict?.state !== 'failure') continue
    const attempt = (attempted.get(variable) ?? 0) + 1
    attempted.set(variable, attempt)
    if (prompter === undefined || attempt === attempts) {
      failures.set(variable, verdict)
      continue
    }
    const again = questions.findIndex(question => question.variable === (verdict.liesWith ?? variable))
    at = (again === -1 ? at : again) - 1
  }
  return { answers, failures: [...failures].map(([variable, verdict]) => ({ variable, verdict })) }
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
