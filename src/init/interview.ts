/** The questions of `autodj init`, each with the check of its answer. */

import type { Verdict } from '../doctor/check.ts'
import type { Variable } from '../settings.ts'

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
  /** an answer as it may stand on the screen; default: as it is, or, of a secret, that it is set */
  shown?(answer: string): string
  /** Tries the answer, together with those before it, against the real thing. A failure asks again. */
  check?(answers: Answers): Promise<AnswerVerdict>
}

export type AnswerVerdict = Verdict & {
  /** The earlier answer that a failure lies with: a bucket that cannot be opened, with the secret. That one is asked again. */
  liesWith?: Variable
  /** The part of the answer that it lies with, where the rest is right: that alone is asked for, as a secret. */
  part?: { readonly text: string; complete(part: string): string }
}

/** A person at a terminal. */
export interface Prompter {
  /** The answer; empty for ENTER. Secrets are not echoed. */
  ask(prompt: string, options: { secret: boolean }): Promise<string>
  say(text: string): void
}

/** What was answered, and what did not pass its check and was kept anyway. */
export interface Interview {
  answers: Answers
  failures: readonly { variable: Variable; verdict: Verdict }[]
}

/** An answer that unsets what is set. */
const none = '-'
/** An answer that goes to the question before. */
const back = '<'
/** Wrong answers to one question before it is given up. */
const attempts = 3

/**
 * Asks the questions in order; without a prompter takes what is there. An answer that fails its check is asked for
 * again, from the question on that the failure lies with; after three times, and if nobody is there to ask, it
 * stands among the failures. Whoever answers `<` is asked the question before once more.
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
  /** indexes of the questions before this one that were asked */
  let asked: number[] = []
  let part: AnswerVerdict['part']
  for (let at = 0; at < questions.length; ) {
    const question = questions[at]!
    const { variable, when, check, required } = question
    failures.delete(variable)
    if (when !== undefined && !when(answers)) {
      at++
      continue
    }
    if (prompter !== undefined) {
      const next = await askFor(question, part, answers, prompter)
      part = undefined
      if (next === back) {
        const before = asked.pop()
        if (before === undefined) prompter.say('  This is the first question.')
        at = before ?? at
        continue
      }
      answers = next
      asked.push(at)
    }
    let verdict: AnswerVerdict | undefined
    if (answers[variable] === undefined) {
      if (required) verdict = { state: 'failure', cause: 'not set', cure: 'Type an answer: it is required.' }
    } else verdict = await check?.(answers)
    if (verdict !== undefined) onVerdict(variable, verdict)
    if (verdict?.state !== 'failure') {
      at++
      continue
    }
    const attempt = (attempted.get(variable) ?? 0) + 1
    attempted.set(variable, attempt)
    if (prompter === undefined || attempt >= attempts) {
      failures.set(variable, verdict)
      at++
      continue
    }
    part = verdict.part
    const blamed = questions.findIndex(one => one.variable === verdict.liesWith)
    if (blamed !== -1) at = blamed
    asked = asked.filter(index => index < at)
  }
  return { answers, failures: [...failures].map(([variable, verdict]) => ({ variable, verdict })) }
}

/** The answers with this one, or the wish to go back. */
async function askFor(
  { variable, text, secret = false, defaultAnswer, shown }: Question,
  part: AnswerVerdict['part'],
  answers: Answers,
  prompter: Prompter,
): Promise<Answers | typeof back> {
  if (part !== undefined) {
    const given = (await prompter.ask(`${part.text}: `, { secret: true })).trim()
    if (given === back) return back
    // Of no answer nothing is made: the whole is asked for then.
    if (given !== '') return { ...answers, [variable]: part.complete(given) }
  }
  const current = answers[variable] ?? defaultAnswer
  const inBrackets =
    current === undefined
      ? ''
      : ` [${shown?.(current) ?? (secret ? 'set' : current)}${secret ? '; Enter keeps it' : ''}]`
  const given = (await prompter.ask(`${text}${inBrackets}: `, { secret })).trim()
  if (given === back) return back
  const answer = given === '' ? current : given === none ? undefined : given
  const { [variable]: _, ...others } = answers
  return answer === undefined ? others : { ...others, [variable]: answer }
}
