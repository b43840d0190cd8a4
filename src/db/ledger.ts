/**
 * The ledger, autodj's own memory (schema `autodj_ledger`): what ran, what failed, which object holds what, which upload is
 * under way, which file has which hash. One file for each under `ledger/`; this is their one door.
 */
export * from './ledger/files.ts'
export * from './ledger/items.ts'
export * from './ledger/objects.ts'
export * from './ledger/runs.ts'
export * from './ledger/uploads.ts'
