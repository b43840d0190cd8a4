/** A worker of the analysis pool that does what its file's name says: crash, exit, hang, bloat, or answer. */
import { parentPort } from 'node:worker_threads'
import type { Request } from '../../src/audio/pool.ts'

parentPort!.on('message', (message: Request | 'abort') => {
  if (message === 'abort') return
  const { path } = message
  if (path === 'crash') throw new Error('on purpose')
  if (path === 'exit') process.exit(3)
  if (path === 'hang') for (;;);
  if (path === 'bloat') {
    const kept: unknown[] = []
    for (;;) kept.push(new Array(100_000).fill(Math.random()))
  }
  if (path === 'memory')
    return parentPort!.postMessage({
      status: 'failed',
      code: 'audio.memory',
      message: 'too much',
      cure: undefined,
    })
  parentPort!.postMessage({ status: 'checked', decoded: { path }, cpuSeconds: 0 })
})
