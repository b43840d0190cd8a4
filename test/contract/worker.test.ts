import { embeddedBeds } from '../support/beds.ts'
import { workerContract } from './worker.ts'

workerContract('PGlite and the embedded S3 server', embeddedBeds())
