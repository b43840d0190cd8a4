import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { createPool, type PoolOptions } from '../../src/audio/pool.ts'

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/audio/${name}`, import.meta.url))
const hostile = (options: Partial<PoolOptions> = {}) =>
  createPool({
    decoder: 'npm',
    workers: 2,
    heapLimit: 32,
    timeLimit: 30_000,
    script: new URL('../support/hostile-worker.ts', import.meta.url),
    ...options,
  })

describe('the pool of analysers', () => {
  it('analyses and checks files in threads, more than it has', async () => {
    await using pool = createPool({ decoder: 'npm', workers: 2 })
    const names = ['music.mp3', 'music.flac', 'music.ogg']
    const [check, ...done] = await Promise.all([
      pool.check(fixture('music.opus')),
      ...names.map(name => pool.analyze(fixture(name), { hints: { tagBpm: 120 } })),
    ])
    expect(check).toMatchObject({ status: 'checked', decoded: { problems: [] } })
    for (const reply of done) {
      expect(reply).toMatchObject({ status: 'analysed', analysis: { bpm: 120, analysisVersion: '3.10.0' } })
      if (reply.status === 'analysed') {
        expect(reply.analysis.waveform.bytes).toHaveLength(3000)
        expect(reply.cpuSeconds).toBeGreaterThan(0)
      }
    }
  })
  it('gives a file that cannot be analysed back as a failure with its cure', async () => {
    await using pool = createPool({ decoder: 'npm', workers: 1 })
    expect(await pool.analyze(fixture('nowhere.mp3'))).toMatchObject({
      status: 'failed',
      code: 'audio.unreadable',
      cure: expect.any(String),
    })
  })
  it.runIf(spawnSync('ffmpeg', ['-version']).status === 0)('works with ffmpeg', async () => {
    await using pool = createPool({ decoder: 'ffmpeg', workers: 1 })
    expect(await pool.analyze(fixture('music.m4a'))).toMatchObject({
      status: 'analysed',
      analysis: { bpm: 120 },
    })
  })
  it('reports a missing ffmpeg as such', async () => {
    await using pool = createPool({ decoder: 'ffmpeg', ffmpeg: 'no-such-ffmpeg', workers: 1 })
    expect(await pool.analyze(fixture('music.mp3'))).toMatchObject({ code: 'audio.decoder-missing' })
  })

  it.each([
    ['crash', 'audio.crash'],
    ['exit', 'audio.crash'],
    ['bloat', 'audio.memory'],
    ['memory', 'audio.memory'],
  ])('replaces a thread after a %s, and the run goes on', async (what, code) => {
    await using pool = hostile()
    const replies = await Promise.all(['a', what, 'b', what, 'c', 'd'].map(path => pool.check(path)))
    expect(replies.map(reply => (reply.status === 'failed' ? reply.code : reply.status))).toEqual([
      'checked',
      code,
      'checked',
      code,
      'checked',
      'checked',
    ])
  })
  it('replaces a thread that hangs after the time limit', async () => {
    await using pool = hostile({ workers: 1, timeLimit: 1500 })
    const [hung, next] = await Promise.all([pool.check('hang'), pool.check('a')])
    expect(hung).toMatchObject({ status: 'failed', code: 'audio.timeout' })
    expect(next).toMatchObject({ status: 'checked' })
  })
  it('rejects with the reason of the signal, running or waiting, and goes on', async () => {
    await using pool = hostile({ workers: 1 })
    const control = new AbortController()
    const running = pool.check('hang', { signal: control.signal })
    const waiting = pool.check('a', { signal: control.signal })
    const other = pool.check('b')
    control.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    await expect(waiting).rejects.toThrow('enough')
    expect(await other).toMatchObject({ status: 'checked' })
  })
  it('reports what is left as stopped when it is closed', async () => {
    const pool = hostile({ workers: 1 })
    const replies = Promise.all([pool.check('hang'), pool.check('a')])
    await pool.close()
    expect(await replies).toMatchObject([{ code: 'audio.stopped' }, { code: 'audio.stopped' }])
    expect(await pool.check('a')).toMatchObject({ code: 'audio.stopped' })
  })
})
