import { expect, test } from 'vitest'
import { loadConfig } from '../../../src/config.ts'
import { accessChecks } from '../../../src/doctor/access-checks.ts'
import { type DoctorResources, DoctorState } from '../../../src/doctor/state.ts'

test('neither endpoint nor region: nobody is asked, and that is said', async () => {
  const asked: string[] = []
  const state = new DoctorState({
    config: loadConfig({ env: {}, cwd: '/' }),
    prober: { request: async ({ url }: { url: string }) => asked.push(url) },
    now: () => new Date(),
  } as unknown as DoctorResources)
  const endpoint = accessChecks(state).find(({ name }) => name === 'endpoint')!
  expect(await endpoint.run(AbortSignal.timeout(30_000))).toMatchObject({
    state: 'failure',
    cause: expect.stringMatching(/^AWS_REGION is not set/),
    cure: expect.stringContaining('autodj init'),
  })
  expect(asked).toEqual([])
})
