/**
 * A process of its own to measure: analyses files and prints what it took, as a line of JSON.
 *   node load.ts one FILE TIMES          in this thread, one after another
 *   node load.ts pool WORKERS WARM FILE... in a pool, after each thread has analysed WARM files that do not count
 *   node load.ts file DECODER FILE       one file in a pool of one, by `ffmpeg` or `npm`; the most memory it took
 */
import { analyzeFile } from '../../src/audio/analyze.ts'
import { ffmpegDecoder } from '../../src/audio/decode.ts'
import { createPool } from '../../src/audio/pool.ts'

const [mode, ...args] = process.argv.slice(2)
let audioSeconds = 0
const started = performance.now()
const megabytes: number[] = []
let failed = 0
if (mode === 'one') {
  const [file, times] = args
  for (let i = 0; i < Number(times); i++)
    audioSeconds += (await analyzeFile(ffmpegDecoder(), file!)).analysis.duration
} else if (mode === 'file') {
  const [decoder, file] = args as ['ffmpeg' | 'npm', string]
  await using pool = createPool({ decoder, workers: 1, timeLimit: 3_600_000 })
  const reply = await pool.analyze(file)
  if (reply.status !== 'analysed') throw new Error(`${reply.code}: ${reply.message}`)
  const seconds = (performance.now() - started) / 1000
  const most = process.resourceUsage().maxRSS / 1024
  console.log(JSON.stringify({ audioSeconds: reply.analysis.duration, seconds, megabytes: [most] }))
} else {
  const [workers, warm, ...files] = args
  await using pool = createPool({ decoder: 'ffmpeg', workers: Number(workers) })
  await Promise.all(Array.from({ length: Number(workers) * Number(warm) }, () => pool.analyze(files[0]!)))
  const from = performance.now()
  const cpu = process.cpuUsage()
  await Promise.all(
    files.map(async file => {
      const reply = await pool.analyze(file)
      if (reply.status === 'analysed') audioSeconds += reply.analysis.duration
      else failed++
      megabytes.push(process.memoryUsage.rss() / 2 ** 20)
    }),
  )
  const { user, system } = process.cpuUsage(cpu)
  console.log(
    JSON.stringify({
      audioSeconds,
      seconds: (performance.now() - from) / 1000,
      cpuSeconds: (user + system) / 1e6,
      failed,
      megabytes,
    }),
  )
}
if (mode === 'one')
  console.log(JSON.stringify({ audioSeconds, seconds: (performance.now() - started) / 1000 }))
