/** `listing` against a store that leaves out what was put: the probes go, and the check says what is missing. */
import { expect, test } from 'vitest'
import { type DoctorResources, DoctorState } from '../../../src/doctor/state.ts'
import { storeChecks } from '../../../src/doctor/store-checks.ts'
import type { ObjectStore } from '../../../src/storage/store.ts'
import { embeddedBucket } from '../../support/embedded-s3.ts'

/** The store, whose listings lack the first object of each page. */
function forgetful(store: ObjectStore): ObjectStore {
  return new Proxy(store, {
    get: (target, name) =>
      name !== 'list'
        ? Reflect.get(target, name)
        : async function* (...[options]: Parameters<ObjectStore['list']>) {
            for await (const page of target.list(options)) yield page.slice(1)
          },
  })
}

test.each([
  ['lists everything', (store: ObjectStore) => store, { state: 'ok' }],
  [
    'leaves one out',
    forgetful,
    {
      state: 'failure',
      cause: expect.stringMatching(
        /^missing from the listing: 1 of 10 objects just put, such as .*-list\/A b\/x$/,
      ),
    },
  ],
])('a store that %s', async (_, seenThrough, verdict) => {
  const bucket = await embeddedBucket()
  try {
    const state = new DoctorState({
      config: { s3: { keyPrefix: 'audio/', region: 'us-east-1' } },
      openStore: () => seenThrough(bucket.store),
    } as unknown as DoctorResources)
    const listing = storeChecks(state).find(({ name }) => name === 'listing')!
    expect(await listing.run(AbortSignal.timeout(30_000))).toMatchObject(verdict)
    expect(await Array.fromAsync(bucket.store.list())).toEqual([])
  } finally {
    await bucket.close()
  }
})
