/** Takes the lock file named by its argument, says `held` or `refused`, and keeps it until it is killed. */
import { acquireLockFile } from '../../src/db/lock-file.ts'

try {
  await acquireLockFile(process.argv[2]!, 'child')
  process.stdout.write('held\n')
} catch {
  process.stdout.write('refused\n')
}
setInterval(() => {}, 1_000)
