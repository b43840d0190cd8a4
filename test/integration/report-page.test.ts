/** The page of `autodj report` in a real browser: three sizes, light and dark, without network, and axe-core on it. */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, launch } from 'puppeteer-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { finishRun, recordItems, startRun, upsertObjects } from '../../src/db/ledger.ts'
import { cli } from '../support/cli.ts'
import { migrated, pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const chromium = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
if (!chromium) console.warn('no chromium here: the browser tests are skipped (Debian: apt install chromium)')
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
const hostile = '<script>alert(1)</script>"\'&\u202e\n'

let folder: string
let place: TestDatabase
let page: string
let browser: Browser | undefined

beforeAll(async () => {
  folder = temporaryFolder('report')
  place = await migrated(await pgliteTestDatabase())
  const database = await place.open()
  const { knex } = database
  await knex('tracks').insert(
    Array.from({ length: 240 }, (_, number) => {
      const id = randomUUID()
      const isInS3 = number % 8 !== 0
      return {
        id,
        spotify_id: id,
        title: hostile,
        artist: 'a',
        file_source: isInS3 ? 'S3' : 'LOCAL',
        file_size: 5_000_000 + number,
        file_path: number % 3 === 0 ? `${number}.mp3` : null,
        s3_object_key: isInS3 ? `audio/${number}.mp3` : null,
        bpm: 84 + ((number * 37) % 70),
        key: ['C major', 'A minor', 'F# minor', 'Eb major', 'G minor'][number % 5],
        analysis_version: number % 9 === 0 ? '2.0.0' : '3.0.0',
        analyzed_at: new Date(),
      }
    }),
  )
  const day = (back: number) => new Date(Date.now() - back * 86_400_000)
  await upsertObjects(
    knex,
    Array.from({ length: 210 }, (_, number) => ({
      bucket: 'music',
      key: `audio/${number}.mp3`,
      size: 5_000_000,
      uploadedAt: day(number % 21),
      servedAt: day(1),
      edge: ['FRA56-P4', 'HAM50-C1', 'LHR61-P2'][number % 3] as string,
      latencyMs: 20 + (number % 40),
      cacheHit: number % 4 !== 0,
    })),
  )
  const run = async (command: string, back: number, exitCode: number, summary: Record<string, unknown>) => {
    const id = randomUUID()
    await startRun(knex, { id, command, args: {}, host: 'studio', pid: 7, version: '0' })
    await finishRun(knex, id, { state: exitCode === 0 ? 'done' : 'failed', exitCode, summary })
    await knex('autodj_ledger.runs')
      .where({ id })
      .update({ started_at: day(back), finished_at: day(back - 0.01) })
    return id
  }
  for (let back = 20; back >= 0; back--) {
    await run('upload-local', back, back % 7 === 3 ? 3 : 0, { bytes_per_second: 9e6 + 1e6 * (back % 5) })
    await run('verify', back, 0, {
      hit_ratio: 0.98 - back * 0.02,
      latency_p50_ms: 24 + back,
      latency_p95_ms: 80 + 3 * back,
    })
    await run('reconcile', back, back > 12 ? 4 : 0, { drift: Math.max(0, back - 12) })
  }
  await run('status --storage', 0, 0, {
    storage: {
      source: 'listing',
      taken_at: day(0.2).toISOString(),
      classes: [
        { name: 'STANDARD', objects: 150, bytes: 750_000_000_000 },
        { name: 'INTELLIGENT_TIERING', objects: 60, bytes: 300_000_000_000 },
      ],
      prefixes: [{ name: 'audio/', objects: 210, bytes: 1_050_000_000_000 }],
    },
  })
  await recordItems(
    knex,
    [hostile, 'vanished'].map((error, number) => ({
      command: 'upload-local',
      subject: `s${number}`,
      trackId: null,
      state: 'failed' as const,
      errorCode: number === 0 ? 'file.unreadable' : 'file.missing',
      error,
      cure: 'Make it readable.',
      runId: null as never,
    })),
  ).catch(() => {})
  await database.close()
  page = path.join(folder, 'out/report.html')
  const made = await cli(['report', '--output', page], {
    cwd: folder,
    env: { DATABASE_URL: place.url, S3_BUCKET_NAME: 'music' },
  })
  expect(made.exitCode, made.stderr).toBe(0)
  if (chromium) browser = await launch({ executablePath: chromium, args: ['--no-sandbox'] })
})
afterAll(async () => {
  await browser?.close()
  await place?.drop()
})

test('one file, no script, nothing from elsewhere, names as text', async () => {
  const html = await readFile(page, 'utf8')
  expect(html).not.toMatch(/<script|javascript:|@import|<link[^>]+href="(?!data:)|\ssrc=|url\(/i)
  expect(html).not.toMatch(/\son[a-z]+=/i)
  expect(html).toContain('svg')
  // A namespace is a name, not an address.
  expect(html.replaceAll(/xmlns(:\w+)?="[^"]*"/g, '')).not.toMatch(/(href|src)="https?:/)
})

test('an empty library makes a page, too', async () => {
  const empty = await pgliteTestDatabase()
  try {
    const env = { DATABASE_URL: empty.url }
    expect((await cli(['migrate'], { env, cwd: folder })).exitCode).toBe(0)
    const { stdout, exitCode } = await cli(['report', '--output', '-'], { env, cwd: folder })
    expect(exitCode).toBe(0)
    expect(stdout).toContain('Nothing to show yet.')
  } finally {
    await empty.drop()
  }
})

describe.skipIf(!chromium).each([
  ['a phone', 360, 740],
  ['a tablet', 820, 1180],
  ['a desktop', 1440, 900],
] as const)('on %s', (_name, width, height) => {
  test.each(['light', 'dark'] as const)(
    '%s: no error, no request, no overflow, and nothing serious for axe-core',
    async scheme => {
      const tab = await browser!.newPage()
      try {
        const problems: string[] = []
        tab.on('console', message => problems.push(`console: ${message.text()}`))
        tab.on('pageerror', error => problems.push(`error: ${error}`))
        tab.on('requestfailed', request => problems.push(`request: ${request.url()}`))
        const requested: string[] = []
        tab.on('request', request => requested.push(request.url()))
        await tab.setViewport({ width, height })
        await tab.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
        const url = pathToFileURL(page).href
        await tab.goto(url, { waitUntil: 'load' })
        expect(requested.filter(one => one !== url && !one.startsWith('data:'))).toEqual([])
        expect(problems).toEqual([])
        const widths = await tab.evaluate('[document.documentElement.scrollWidth, window.innerWidth]')
        expect((widths as number[])[0]).toBeLessThanOrEqual((widths as number[])[1] as number)
        expect(await tab.evaluate(`document.querySelectorAll('figure svg').length`)).toBeGreaterThan(8)
        // Every table open, so that it is looked at as well.
        await tab.evaluate(`for (const one of document.querySelectorAll('details')) one.open = true`)
        await tab.evaluate(await readFile(axe, 'utf8'))
        const found = (await tab.evaluate(
          `axe.run(document, { resultTypes: ['violations'] }).then(result => result.violations.map(one => [one.impact, one.id, one.nodes.length, one.nodes[0].html.slice(0, 160)]))`,
        )) as [string, string, number, string][]
        expect(found.filter(([impact]) => impact === 'serious' || impact === 'critical')).toEqual([])
        const shots = process.env['TEST_SCREENSHOTS']
        if (shots) {
          await tab.evaluate(`for (const one of document.querySelectorAll('details')) one.open = false`)
          await tab.screenshot({ path: `${shots}/report-${width}-${scheme}.png` as `${string}.png` })
        }
      } finally {
        await tab.close()
      }
    },
  )

  test('by keyboard: the first Tab leads past the navigation', async () => {
    const tab = await browser!.newPage()
    try {
      await tab.setViewport({ width, height })
      await tab.goto(pathToFileURL(page).href)
      await tab.keyboard.press('Tab')
      expect(await tab.evaluate('document.activeElement.textContent')).toBe('Skip to the report')
      await tab.keyboard.press('Enter')
      expect(await tab.evaluate('document.activeElement.id')).toBe('main')
    } finally {
      await tab.close()
    }
  })
})

test.skipIf(!chromium)('on paper', async () => {
  const tab = await browser!.newPage()
  try {
    await tab.goto(pathToFileURL(page).href)
    const pdf = await tab.pdf({ format: 'A4' })
    expect(Buffer.from(pdf).subarray(0, 5).toString()).toBe('%PDF-')
  } finally {
    await tab.close()
  }
})
