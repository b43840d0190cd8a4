/** All commands, in the order in which `--help` shows them: the order of the journey. */
import type { Command } from '../cli/command.ts'
import { analyze } from './analyze.ts'
import { apply, undo } from './apply.ts'
import { bucketApply, bucketCheck, bucketPlan } from './bucket.ts'
import { cleanup } from './cleanup.ts'
import { demo } from './demo.ts'
import { doctor } from './doctor.ts'
import { fetch } from './fetch.ts'
import { importCommand } from './import.ts'
import { init } from './init.ts'
import { migrate } from './migrate.ts'
import { policy } from './policy.ts'
import { reconcile } from './reconcile.ts'
import { restore } from './restore.ts'
import { serve } from './serve.ts'
import { status } from './status.ts'
import { uploadLocal } from './upload-local.ts'
import { verify } from './verify.ts'
import { worker } from './worker.ts'

export const commands: readonly Command[] = [
  demo,
  init,
  doctor,
  migrate,
  importCommand,
  uploadLocal,
  fetch,
  analyze,
  reconcile,
  apply,
  undo,
  verify,
  cleanup,
  restore,
  bucketCheck,
  bucketPlan,
  bucketApply,
  policy,
  status,
  serve,
  worker,
]
