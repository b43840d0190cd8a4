import { embeddedBeds } from '../support/beds.ts'
import { analyzeContract } from './analyze.ts'

analyzeContract('PGlite and the embedded S3 server', embeddedBeds())
