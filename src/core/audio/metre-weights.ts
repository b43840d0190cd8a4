import type { PackedNetwork } from './network.ts'
export const METRE_NETWORKS: readonly PackedNetwork[] = []
