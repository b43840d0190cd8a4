/** `--bwlimit`: whatever a command sends or receives of audio passes the one throttle of its run, at its rate. */
import http from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { defineCommand } from '../../src/cli/command.ts'
import { shared } from '../../src/cli/flags.ts'
import { commands } from '../../src/commands.ts'
import type { Context } from '../../src/context.ts'
import { parseBandwidth } from '../../src/core/bandwidth.ts'
import { ExitCode } from '../../src/errors.ts'
import { Throttle } from '../../src/throttle.ts'
import { addObject, demo } from '../contract/analyze.ts'
import type { TestBed } from '../support/bed.ts'
import { fakeAudio } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { cli } from '../support/cli.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { end, listening, urlOf } from '../support/listening.ts'

const rate = 10 * 1024

/** A throttle whose time passes only while someone waits: what passed is told by how late it is. */
function virtual(limit = `${rate}B`) {
  let now = 0
  const throttle = new Throttle(
    parseBandwidth(limit),
    () => now,
    async milliseconds => {
      now += milliseconds
    },
  )
  return { throttle, bytes: () => (now / 1_000) * rate }
}

/** Runs a command of the program with its defaults, as the program would. */
async function run(
  bed: TestBed,
  name: string,
  flags: Record<string, unknown> = {},
  env: Record<string, string> = {},
) {
  const command = commands.find(one => one.name === name)!
  const defaults = Object.fromEntries(
    Object.entries(command.flags).map(([key, one]) => [key, one.defaultValue]),
  )
  const { throttle, bytes } = virtual()
  const end = await bed.run(name, context => command.run(context, { ...defaults, ...flags }, []), {
    throttle,
    env,
  })
  return { ...end, bytes: bytes() }
}

let bed: TestBed
let cdn: http.Server
let cdnDomain: string
beforeAll(async () => {
  const opened = await embeddedBed(await pgliteTestDatabase())
  bed = opened.bed
  // Serves what is in the bucket, as CloudFront would.
  cdn = http.createServer((request, response) => {
    void (async () => {
      const content = await bed.content(decodeURIComponent((request.url ?? '/').slice(1)))
      if (content === undefined) return response.writeHead(404).end()
      const [, start, end] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
      const headers = {
        'content-type': 'audio/mpeg',
        'accept-ranges': 'bytes',
        'x-amz-cf-pop': 'FRA56-P2',
        via: '1.1 x.cloudfront.net (CloudFront)',
      }
      if (start === undefined)
        return response.writeHead(200, { ...headers, 'content-length': content.length }).end(content)
      const last = end ? Number(end) : content.length - 1
      response
        .writeHead(206, { ...headers, 'content-range': `bytes ${start}-${last}/${content.length}` })
        .end(content.subarray(Number(start), last + 1))
      return undefined
    })()
  })
  await listening(cdn)
  cdnDomain = urlOf(cdn)
})
afterAll(async () => {
  end(cdn)
  await bed.close()
})
beforeEach(() => bed.reset())

const size = 200_000

test('upload-local', async () => {
  await bed.addTrack({ path: 'a.flac', content: fakeAudio(size, 1) })
  const { exitCode, bytes } = await run(bed, 'upload-local')
  expect(exitCode).toBe(ExitCode.ok)
  expect(bytes).toBeCloseTo(size, -3)
})

test('upload-local, in parts', async () => {
  const large = 18 * 1024 ** 2
  await bed.addTrack({ path: 'large.flac', content: fakeAudio(large, 1) })
  const { exitCode, bytes } = await run(bed, 'upload-local', { partSize: 5 * 1024 ** 2 })
  expect(exitCode).toBe(ExitCode.ok)
  expect((await bed.store.head([...(await bed.objects()).keys()][0] as string))?.etag).toMatch(/-4$/)
  expect(Math.abs(bytes - large)).toBeLessThan(large / 100)
})

test('restore', async () => {
  await bed.addTrack({ path: 'a.flac', content: fakeAudio(size, 1) })
  await run(bed, 'upload-local', { deleteLocal: true })
  await run(bed, 'cleanup', { apply: true, olderThan: 0 })
  const { exitCode, bytes, summary } = await run(bed, 'restore', { to: `${bed.dir}/back` })
  expect(exitCode).toBe(ExitCode.ok)
  expect(summary).toMatchObject({ restored: 1 })
  expect(bytes).toBeCloseTo(size, -3)
})

test.each(['s3', 'cdn'])('analyze --source %s', async source => {
  const content = demo('01-first-light.mp3')
  await addObject(bed, 'audio/a.mp3', content)
  const { exitCode, bytes } = await run(
    bed,
    'analyze',
    { source, check: true, concurrency: 1 },
    { CLOUDFRONT_DOMAIN: cdnDomain },
  )
  expect(exitCode).toBe(ExitCode.ok)
  expect(bytes).toBeCloseTo(content.length, -3)
})

test('reconcile --deep', async () => {
  await addObject(bed, 'audio/a.mp3', fakeAudio(size, 1))
  const { bytes } = await run(bed, 'reconcile', { deep: true })
  expect(bytes).toBeCloseTo(size, -3)
})

test.each([
  ['--full', { full: true }, size],
  ['--bytes', { bytes: 50_000 }, 100_000],
])('verify %s', async (_name, flags, expected) => {
  await addObject(bed, 'audio/a.mp3', fakeAudio(size, 1))
  const { exitCode, bytes } = await run(bed, 'verify', flags, { CLOUDFRONT_DOMAIN: cdnDomain })
  expect(exitCode).toBe(ExitCode.ok)
  expect(bytes).toBeCloseTo(expected, -3)
})

describe('fetch', () => {
  const content = demo('01-first-light.mp3')

  test('--url: once, on its way through', async () => {
    await addObject(bed, 'music/a.mp3', content)
    await bed.database.knex('tracks').delete()
    await bed.addTrack({ path: null, source: 'UNAVAILABLE' })
    const { exitCode, bytes } = await run(bed, 'fetch', { from: ['url'], url: `${cdnDomain}/music/a.mp3` })
    expect(exitCode).toBe(ExitCode.ok)
    expect(bytes).toBeCloseTo(content.length, -3)
  })

  test('a file of the audio folder', async () => {
    await bed.addTrack({ path: null, source: 'UNAVAILABLE', artist: 'Someone', title: 'First light' })
    const { mkdir, writeFile } = await import('node:fs/promises')
    await mkdir(`${bed.audioRoot}/Someone`)
    await writeFile(`${bed.audioRoot}/Someone/First light.mp3`, content)
    const { exitCode, bytes } = await run(bed, 'fetch', { from: ['local'] })
    expect(exitCode).toBe(ExitCode.ok)
    expect(bytes).toBeCloseTo(content.length, -3)
  })
})

test('the steps of `autodj run` share the limit of the night', async () => {
  await bed.addTrack({ path: 'a.flac', content: fakeAudio(size, 1) })
  const { bytes } = await run(bed, 'run', { steps: new Set(['upload-local']) })
  expect(bytes).toBeCloseTo(size, -3)
})

test('the flag makes the throttle of the context, and every command that transfers takes it', async () => {
  const withFlag = commands.filter(one => 'bwlimit' in one.flags).map(one => one.name)
  expect(withFlag.toSorted()).toEqual([
    'analyze',
    'fetch',
    'reconcile',
    'restore',
    'run',
    'upload-local',
    'verify',
    'worker',
  ])
  for (const { flags } of commands) if ('bwlimit' in flags) expect(flags['bwlimit']).toBe(shared.bwlimit)
  let seen: Context | undefined
  const probe = defineCommand({
    name: 'probe',
    summary: 'x',
    flags: { bwlimit: shared.bwlimit },
    async run(context) {
      seen = context
      return ExitCode.ok
    },
  })
  const limited = async (argv: string[]) => {
    await cli(['probe', ...argv], { commands: [probe] })
    const giveUp = new AbortController()
    const passed = seen!.throttle.pass(1024 ** 3, giveUp.signal).then(
      () => 'passed',
      () => 'waited',
    )
    setImmediate(() => giveUp.abort(new Error('enough')))
    return passed
  }
  expect(await limited([])).toBe('passed')
  expect(await limited(['--bwlimit', 'off'])).toBe('passed')
  expect(await limited(['--bwlimit', '1M'])).toBe('waited')
})

test('streams go before bodies: none stands still for long because large bodies wait', async () => {
  const { throttle } = virtual('1M')
  const order: string[] = []
  const body = throttle.pass(20 * 1024 ** 2).then(() => order.push('body'))
  async function* chunks() {
    for (let count = 0; count < 5; count++) yield new Uint8Array(64 * 1024)
  }
  for await (const chunk of throttle.through(chunks())) order.push(`chunk of ${chunk.length}`)
  await body
  expect(order).toEqual([...Array(5).fill('chunk of 65536'), 'body'])
})

test('a limit that falls while a slice waits lets it through', async () => {
  let now = new Date('2026-11-23T11:59:59.990').getTime()
  const throttle = new Throttle(
    parseBandwidth('00:00,100M 12:00,1K'),
    () => now,
    async milliseconds => {
      now += milliseconds
    },
  )
  await throttle.pass(10 * 1024 ** 2)
  expect(now - new Date('2026-11-23T12:00:00').getTime()).toBeGreaterThan(60_000)
})
