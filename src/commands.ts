/** All commands, in the order in which `--help` shows them: the order of the journey. */

import { analyze } from './analyze/command.ts'
import { bucketApply, bucketCheck, bucketPlan } from './bucket/command.ts'
import { cleanup } from './cleanup/command.ts'
import type { Command } from './cli/command.ts'
import { demo } from './demo/command.ts'
import { doctor } from './doctor/command.ts'
import { fetch } from './fetch/command.ts'
import { importCommand } from './import/command.ts'
import { init } from './init/command.ts'
import { report } from './library-report/command.ts'
import { migrate } from './migrate/command.ts'
import { nightlyRun } from './nightly/command.ts'
import { apply, undo } from './plan/command.ts'
import { policy } from './policy/command.ts'
import { reconcile } from './reconcile/command.ts'
import { restore } from './restore/command.ts'
import { serve } from './server/command.ts'
import { status } from './status/command.ts'
import { cost } from './status/cost/command.ts'
import { uploadLocal } from './upload/command.ts'
import { verify } from './verify/command.ts'
import { worker } from './worker/command.ts'

export const commands: readonly Command[] = [
  demo,
  init,
  doctor,
  nightlyRun,
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
  report,
  cost,
  serve,
  worker,
]
