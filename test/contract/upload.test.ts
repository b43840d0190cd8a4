import { embeddedBeds } from '../support/beds.ts'
import { uploadContract } from './upload.ts'

uploadContract('PGlite and the embedded S3 server', embeddedBeds())
