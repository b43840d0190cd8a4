/**
 * An object store that a test stands in the middle of: what another process does between a look and an act is done in
 * `before` and `after`, and an answer is lost by throwing there.
 */
import { type ObjectStore, StoreError } from '../../src/storage/store.ts'

type Methods = {
  [K in keyof ObjectStore]: ObjectStore[K] extends (...args: never[]) => unknown ? K : never
}[keyof ObjectStore]

export type StoreHooks = {
  [K in Methods]?: {
    /** with the arguments of the call; what it throws is what the caller gets */
    before?: (...args: Parameters<ObjectStore[K]>) => unknown
    /** the same, once the store has done it, with its answer; what it returns (other than undefined) is the answer; null: none */
    after?: (answer: Awaited<ReturnType<ObjectStore[K]>>, ...args: Parameters<ObjectStore[K]>) => unknown
  }
}

/** They give their answers in pages: `before` the first of them, `after` each. */
const inPages: ReadonlySet<string | symbol> = new Set(['list', 'listUploads', 'listVersions'])

export function hooked(store: ObjectStore, hooks: StoreHooks): ObjectStore {
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown
      const hook = hooks[name as Methods] as
        | {
            before?: (...args: unknown[]) => unknown
            after?: (answer: unknown, ...args: unknown[]) => unknown
          }
        | undefined
      if (hook === undefined || typeof value !== 'function') return value
      if (inPages.has(name))
        return async function* (...args: unknown[]) {
          await hook.before?.(...args)
          for await (const page of value.apply(target, args) as AsyncIterable<unknown>)
            yield hook.after?.(page, ...args) ?? page
        }
      return async (...args: unknown[]) => {
        await hook.before?.(...args)
        const answer: unknown = await value.apply(target, args)
        const other = await hook.after?.(answer, ...args)
        return other === undefined ? answer : (other ?? undefined)
      }
    },
  })
}

/** What a connection that breaks gives its caller, whatever the store has done by then. */
export function broken(): StoreError {
  return new StoreError('network', 'the connection failed: reset', { cure: 'run it again' })
}

/** A hook that works once. */
export function once<A extends unknown[]>(work: (...args: A) => unknown): (...args: A) => Promise<unknown> {
  let done = false
  return async (...args) => {
    if (done) return undefined
    done = true
    return work(...args)
  }
}
