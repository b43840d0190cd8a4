/**
 * Worker threads that analyse files. A thread that crashes, hangs or bloats costs its track, which is reported as
 * failed, and is replaced; the others never notice.
 */

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { TrackAnalysis } from '../core/audio/analysis.ts'
import type { TempoHints } from '../core/audio/readings.ts'
import type { ErrorCode } from '../error-codes.ts'
import { toError } from '../errors.ts'
import { keepWasmCode } from '../heap.ts'
import type { Decoded } from './decode.ts'

/** What a worker is started with. */
export interface WorkerSettings {
  readonly decoder: 'ffmpeg' | 'npm'
  /** Command or path of ffmpeg. */
  readonly ffmpeg: string
  /** Bytes of typed arrays a track may need. */
  readonly bufferLimit: number
}

export interface Request {
  readonly job: 'analyse' | 'check'
  readonly path: string
  readonly hints: TempoHints
}

/** Why a track has no analysis; `message` and `cure` are fit for `analysis_error`. */
export interface AnalysisFailure {
  readonly status: 'failed'
  /**
   * `audio.*`: of the decoder (see decode.ts), or `audio.timeout`, `audio.memory`, `audio.crash` from here, or
   * `audio.bug` for an error that nobody foresaw.
   */
  readonly code: ErrorCode
  readonly message: string
  readonly cure: string | undefined
}

interface AnalysisDone {
  readonly status: 'analysed'
  readonly analysis: TrackAnalysis
  readonly decoded: Decoded
  /** CPU of the worker thread, seconds; ffmpeg's own is not in it. */
  readonly cpuSeconds: number
}

interface CheckDone {
  readonly status: 'checked'
  readonly decoded: Decoded
  readonly cpuSeconds: number
}

export type Reply = AnalysisDone | CheckDone | AnalysisFailure

export interface PoolOptions {
  readonly decoder: 'ffmpeg' | 'npm'
  readonly ffmpeg?: string
  /** Threads; one a core by default. */
  readonly workers?: number
  /** Milliseconds a track may take, 5 minutes by default. */
  readonly timeLimit?: number
  /** Megabytes of JavaScript heap a worker may grow to, 256 by default. */
  readonly heapLimit?: number
  /** Megabytes of typed arrays a track may need, 384 by default: about eleven hours of audio. */
  readonly bufferLimit?: number
  /** What the threads run; the tests put hostile ones here. */
  readonly script?: URL
}

export interface TaskOptions {
  readonly hints?: TempoHints
  /** Milliseconds that this one may take longer than others. */
  readonly extraTime?: number
  readonly signal?: AbortSignal
}

export interface AnalyzerPool extends AsyncDisposable {
  readonly workers: number
  /** Analyses a file. Never rejects but with the signal's reason: a failure is a value. */
  readonly analyze: (path: string, options?: TaskOptions) => Promise<AnalysisDone | AnalysisFailure>
  /** Decodes a file only and reports damage. Rejects as `analyse`. */
  readonly check: (path: string, options?: TaskOptions) => Promise<CheckDone | AnalysisFailure>
  /** Ends all threads; what is still running is reported as failed with `audio.stopped`. */
  readonly close: () => Promise<void>
}

interface Task {
  readonly request: Request
  readonly signal: AbortSignal | undefined
  readonly timeLimit: number
  readonly resolve: (reply: Reply) => void
  readonly reject: (reason: unknown) => void
}

interface Seat {
  worker: Worker | undefined
  task: Task | undefined
  timer: NodeJS.Timeout | undefined
  /** Removes the abort listener of the task. */
  release: () => void
}

/** How long a thread that was told to stop may take to end its child process before it is killed. */
const grace = 1000

/**
 * Megabytes of JavaScript heap for what has just been made. V8 would double it with all that ever survived, to 128 MB a
 * thread; larger than this it saves no time (`npm run bench:audio -- --part memory`).
 */
const youngLimit = 24

const ownScript = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)

const failure = (code: ErrorCode, message: string, cure?: string): AnalysisFailure => ({
  status: 'failed',
  code,
  message,
  cure,
})

export function createPool(options: PoolOptions): AnalyzerPool {
  const count = Math.max(1, options.workers ?? availableParallelism())
  const timeLimit = options.timeLimit ?? 5 * 60_000
  const heapLimit = options.heapLimit ?? 256
  const settings: WorkerSettings = {
    decoder: options.decoder,
    ffmpeg: options.ffmpeg ?? 'ffmpeg',
    bufferLimit: (options.bufferLimit ?? 384) * 2 ** 20,
  }
  const queue: Task[] = []
  const seats: Seat[] = Array.from({ length: count }, () => ({
    worker: undefined,
    task: undefined,
    timer: undefined,
    release: () => {},
  }))
  let closed = false

  const settle = (seat: Seat, reply: Reply): void => {
    const { task } = seat
    if (!task) return
    seat.task = undefined
    clearTimeout(seat.timer)
    seat.release()
    task.resolve(reply)
  }

  /** Lets go of a seat's thread; whatever it still says is not heard. */
  const dismiss = (seat: Seat, gently: boolean): Promise<unknown> => {
    const { worker } = seat
    seat.worker = undefined
    if (!worker) return Promise.resolve()
    worker.removeAllListeners()
    worker.on('error', () => {})
    if (!gently) return worker.terminate()
    worker.postMessage('abort')
    return new Promise(resolve => setTimeout(() => resolve(worker.terminate()), grace))
  }

  const hire = (seat: Seat): Worker => {
    keepWasmCode()
    const worker = new Worker(options.script ?? ownScript, {
      workerData: settings,
      // Decoders from npm write what they think of a file to the console: it is not output of autodj's.
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: heapLimit, maxYoungGenerationSizeMb: youngLimit },
    })
    worker.stdout.resume()
    worker.stderr.resume()
    worker.unref()
    worker.on('message', (reply: Reply) => {
      settle(seat, reply)
      // Its buffers may stay with the thread: a fresh one is cheaper than finding out.
      if (reply.status === 'failed' && reply.code === 'audio.memory') void dismiss(seat, false)
      next()
    })
    const lost = (reply: AnalysisFailure): void => {
      if (seat.worker !== worker) return
      void dismiss(seat, false)
      settle(seat, reply)
      next()
    }
    worker.on('error', thrown => {
      const error = toError(thrown)
      const bloated = 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY'
      lost(
        bloated
          ? failure(
              'audio.memory',
              `the analysis needs more than ${heapLimit} MB of heap`,
              'Analyse a shorter file.',
            )
          : failure('audio.crash', `the analysis crashed: ${error.message}`, 'Report this file as a bug.'),
      )
    })
    worker.on('exit', code =>
      lost(failure('audio.crash', `the analysis ended with code ${code}`, 'Report this file as a bug.')),
    )
    return worker
  }

  const start = (seat: Seat, task: Task): void => {
    seat.task = task
    seat.worker ??= hire(seat)
    seat.timer = setTimeout(() => {
      void dismiss(seat, true)
      const seconds = Math.round(task.timeLimit / 1000)
      settle(
        seat,
        failure('audio.timeout', `the analysis took more than ${seconds} s`, 'Raise the time limit.'),
      )
      next()
    }, task.timeLimit)
    const onAbort = (): void => {
      seat.task = undefined
      clearTimeout(seat.timer)
      void dismiss(seat, true)
      task.reject(task.signal!.reason)
      next()
    }
    task.signal?.addEventListener('abort', onAbort, { once: true })
    seat.release = () => task.signal?.removeEventListener('abort', onAbort)
    seat.worker.postMessage(task.request)
  }

  const next = (): void => {
    while (!closed && queue.length > 0) {
      const seat = seats.find(({ task }) => !task)
      if (!seat) return
      const task = queue.shift()!
      if (task.signal?.aborted) task.reject(task.signal.reason)
      else start(seat, task)
    }
  }

  const submit = (
    job: Request['job'],
    path: string,
    { hints = {}, extraTime = 0, signal }: TaskOptions,
  ): Promise<Reply> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      if (closed) return resolve(failure('audio.stopped', 'the analysis was stopped'))
      const request = { job, path, hints }
      queue.push({ request, signal, timeLimit: timeLimit + extraTime, resolve, reject })
      next()
    })

  const close = async (): Promise<void> => {
    closed = true
    const stopped = failure('audio.stopped', 'the analysis was stopped')
    for (const task of queue.splice(0)) task.resolve(stopped)
    await Promise.all(
      seats.map(seat => {
        const busy = seat.task !== undefined
        settle(seat, stopped)
        return dismiss(seat, busy)
      }),
    )
  }

  return {
    workers: count,
    analyze: (path, task = {}) => submit('analyse', path, task) as Promise<AnalysisDone | AnalysisFailure>,
    check: (path, task = {}) => submit('check', path, task) as Promise<CheckDone | AnalysisFailure>,
    close,
    [Symbol.asyncDispose]: close,
  }
}
