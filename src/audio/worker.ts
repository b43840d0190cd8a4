/** One thread of the pool: takes a file at a time, answers with its analysis or with why there is none. */
import { setImmediate } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { AppError, FatalError, toError } from '../errors.ts'
import { analyzeFile } from './analyze.ts'
import { checkFile, ffmpegDecoder, npmDecoder } from './decode.ts'
import type { Reply, Request, WorkerSettings } from './pool.ts'

const { decoder: name, ffmpeg, bufferLimit } = workerData as WorkerSettings
const decoder = name === 'ffmpeg' ? ffmpegDecoder(ffmpeg) : npmDecoder()
const port = parentPort!
let current: AbortController | undefined

/** Typed arrays are outside the heap that resourceLimits bounds, so they are bounded here. */
function watchBuffers(): () => void {
  let calls = 0
  return () => {
    if (++calls % 256 !== 0) return
    const { arrayBuffers } = process.memoryUsage()
    if (arrayBuffers > bufferLimit)
      throw new FatalError(`the analysis needs more than ${Math.round(bufferLimit / 2 ** 20)} MB`, {
        code: 'audio.memory',
      })
  }
}

/** CPU seconds of this thread; before Node.js 23.9, which does not tell, those in which its event loop was busy. */
function secondsOfThread(): number {
  const usage = (process as { threadCpuUsage?: () => NodeJS.CpuUsage }).threadCpuUsage?.()
  return usage ? (usage.user + usage.system) / 1e6 : performance.eventLoopUtilization().active / 1e3
}

async function answer(request: Request, signal: AbortSignal): Promise<Reply> {
  const started = secondsOfThread()
  const cpu = (): number => secondsOfThread() - started
  try {
    if (request.job === 'check')
      return {
        status: 'checked',
        decoded: await checkFile(decoder, request.path, { signal }),
        cpuSeconds: cpu(),
      }
    const onWindow = watchBuffers()
    const { analysis, decoded } = await analyzeFile(decoder, request.path, {
      signal,
      hints: request.hints,
      onWindow,
    })
    return { status: 'analysed', analysis, decoded, cpuSeconds: cpu() }
  } catch (thrown) {
    const error = toError(thrown)
    return {
      status: 'failed',
      code: error instanceof AppError ? error.code : 'audio.bug',
      message: error.message,
      cure: error instanceof AppError ? error.cure : undefined,
    }
  }
}

port.on('message', async (message: Request | 'abort') => {
  if (message === 'abort') {
    current?.abort(new FatalError('the analysis was stopped', { code: 'audio.stopped' }))
    return
  }
  current = new AbortController()
  const reply = await answer(message, current.signal)
  current = undefined
  // The next track's decoder starts when this answer has gone out.
  await setImmediate()
  port.postMessage(reply)
})
