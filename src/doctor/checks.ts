/** The checks of `autodj doctor`, in the order in which a setup breaks. */
import { accessChecks } from './access-checks.ts'
import { cdnChecks } from './cdn-checks.ts'
import type { Check } from './check.ts'
import { libraryChecks } from './library-checks.ts'
import { objectChecks } from './object-checks.ts'
import { type DoctorResources, DoctorState } from './state.ts'
import { storeChecks } from './store-checks.ts'

/**
 * The checks, and what removes the probe object if they end before it is deleted. Checks share what they learn, so
 * they are run in order, once.
 */
export function doctorChecks(resources: DoctorResources): { checks: Check[]; cleanUp(): Promise<void> } {
  const state = new DoctorState(resources)
  const checks = [
    ...accessChecks(state),
    ...objectChecks(state),
    ...cdnChecks(state),
    ...storeChecks(state),
    ...libraryChecks(state),
  ]
  return { checks, cleanUp: () => state.deleteProbe() }
}
