/** The steps of a night, and which of them there are. Loaded at every start. */
export const stepNames = [
  'import',
  'upload-local',
  'fetch',
  'analyze',
  'verify',
  'reconcile',
  'cleanup',
] as const

export type StepName = (typeof stepNames)[number]
