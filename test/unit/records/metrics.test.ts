import { execFileSync } from 'node:child_process'
import { readFile, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { expose, parseExposed, samplesOf, writeMetricsFile } from '../../../src/records/metrics.ts'
import type { RunEnd } from '../../../src/report/entry.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const run = (more: Partial<RunEnd> = {}): RunEnd => ({
  command: 'upload-local',
  startedAt: new Date(1_000_000),
  endedAt: new Date(1_090_500),
  exitCode: 3,
  fields: { uploaded: 185, failed: 2, bytes_sent: 4096, seconds: 90.5, note: 'x', concurrency_peak: 9 },
  failures: new Map([['store.denied', 2]]),
  outcomes: new Map([
    ['uploaded', 185],
    ['not-served', 1],
  ]),
  ...more,
})
const library = {
  tracks: [
    { source: 'S3', tracks: 5, bytes: 50 },
    { source: null, tracks: 1, bytes: 0 },
  ],
  objects: { objects: 5, bytes: 50, failing: 1 },
}

let folder: string
beforeAll(async () => {
  folder = temporaryFolder('metrics')
})

test('counts, bytes, causes and totals; what counts nothing is left out', async () => {
  const text = await expose(samplesOf(run(), library))
  expect(text).toContain('autodj_run_exit_code{command="upload-local"} 3\n')
  expect(text).toContain('autodj_run_duration_seconds{command="upload-local"} 90.5\n')
  expect(text).toContain('autodj_run_items{command="upload-local",outcome="uploaded"} 185\n')
  expect(text).toContain('autodj_run_items{command="upload-local",outcome="not_served"} 1\n')
  expect(text).toContain('autodj_run_bytes{command="upload-local",kind="bytes_sent"} 4096\n')
  expect(text).toContain('autodj_run_failures{command="upload-local",cause="store.denied"} 2\n')
  expect(text).toContain('autodj_library_tracks{source="none"} 1\n')
  expect(text).toContain('autodj_storage_objects 5\n')
  expect(text).not.toMatch(/concurrency|note|autodj_run_success/)
})

/** The rules of promlint, which promtool runs, as far as they concern gauges. */
test('promlint finds nothing', async () => {
  const text = await expose(
    samplesOf(run({ command: 'reconcile', exitCode: 0, fields: { drift: 8, ok: 1 } }), library),
  )
  const names = new Set<string>()
  for (const block of text.split(/^(?=# HELP)/m).filter(one => one.trim() !== '')) {
    const [help = '', type = '', ...samples] = block.trimEnd().split('\n')
    const name = /^# HELP ([a-z][a-z0-9_]*) \S/.exec(help)?.[1] ?? ''
    expect(name, help).not.toBe('')
    expect(names.has(name), name).toBe(false)
    names.add(name)
    expect(type).toBe(`# TYPE ${name} gauge`)
    expect(name).not.toMatch(/_(total|count|sum|bucket|info)$/)
    expect(name).not.toMatch(
      /(^|_)(gauge|counter|milliseconds|kilobytes|minutes|hours|days|percent|mb|kb|ms)(_|$)/,
    )
    const series = samples.filter(line => line !== '').map(line => line.slice(0, line.lastIndexOf(' ')))
    expect(new Set(series).size).toBe(series.length)
    for (const line of series) expect(line).toMatch(new RegExp(`^${name}(\\{([a-z_]+="[^"]*",?)+\\})?$`))
  }
  expect(names.size).toBeGreaterThan(9)
})

describe('the file', () => {
  test('is replaced in one step, readable by all, and holds one set for each command', async () => {
    const file = path.join(folder, 'sub', 'autodj.prom')
    const before = process.umask(0o077)
    try {
      await writeMetricsFile(file, [run({ exitCode: 0 })], library)
      await writeMetricsFile(
        file,
        [run({ command: 'verify', exitCode: 4, fields: { failed: 1 } })],
        undefined,
      )
      await writeMetricsFile(file, [run({ endedAt: new Date(5_000_000), failures: new Map() })], undefined)
    } finally {
      process.umask(before)
    }
    expect((await stat(file)).mode & 0o777).toBe(0o644)
    const text = await readFile(file, 'utf8')
    expect(text).toContain('autodj_run_exit_code{command="verify"} 4\n')
    expect(text).toContain('autodj_run_exit_code{command="upload-local"} 3\n')
    // The last success stays, the causes of the run before do not.
    expect(text).toContain('autodj_run_success_timestamp_seconds{command="upload-local"} 1090.5\n')
    expect(text).toContain('autodj_run_end_timestamp_seconds{command="upload-local"} 5000\n')
    expect(text).not.toContain('{command="upload-local",cause=')
    expect(text).toContain('autodj_library_tracks{source="S3"} 5\n')
    expect(text.match(/^# HELP autodj_run_exit_code /gm)).toHaveLength(1)
  })

  test('a pipe is neither waited for nor replaced', async () => {
    const pipe = path.join(folder, 'pipe.prom')
    execFileSync('mkfifo', [pipe])
    await expect(writeMetricsFile(pipe, [run()], undefined)).rejects.toThrow(`${pipe} is not a file`)
    expect((await stat(pipe)).isFIFO()).toBe(true)
  })

  test('what stands there and is not ours does no harm', async () => {
    const file = path.join(folder, 'strange.prom')
    await writeFile(
      file,
      'other_metric 3\nautodj_run_exit_code{command="x\\"y\\\\z"} 1\n\u0000 rubbish {{{\n',
    )
    await writeMetricsFile(file, [run()], undefined)
    const text = await readFile(file, 'utf8')
    expect(text).not.toContain('other_metric')
    expect(text).toContain('autodj_run_exit_code{command="x\\"y\\\\z"} 1\n')
  })

  test('reads back what it wrote', async () => {
    const samples = samplesOf(run({ failures: new Map([['a "b"\n\\c', 1]]) }), library)
    expect(parseExposed(await expose(samples)).toSorted()).toEqual(samples.toSorted())
  })
})
