/** URL of the PostgreSQL server for tests, or undefined, said aloud: then the tests that want one are skipped. */
export function testPostgres(): string | undefined {
  const url = process.env['TEST_POSTGRES_URL']
  if (!url) console.warn('TEST_POSTGRES_URL is not set: tests on PostgreSQL are skipped')
  return url || undefined
}

export interface TestS3 {
  endpoint: string
  region: string
  credentials: { accessKeyId: string; secretAccessKey: string }
}

/** The S3 server for tests, or undefined, said aloud: then the tests that want one are skipped. */
export function testS3(): TestS3 | undefined {
  const endpoint = process.env['TEST_S3_ENDPOINT']
  if (!endpoint) {
    console.warn('TEST_S3_ENDPOINT is not set: tests on a real S3 server are skipped')
    return undefined
  }
  const accessKeyId = process.env['TEST_S3_ACCESS_KEY'] ?? ''
  const secretAccessKey = process.env['TEST_S3_SECRET_KEY'] ?? ''
  return { endpoint, region: 'us-east-1', credentials: { accessKeyId, secretAccessKey } }
}

/** Path of nginx, or undefined, said aloud: then the tests behind a real caching proxy are skipped. */
export function testNginx(): string | undefined {
  const binary = process.env['TEST_NGINX']
  if (!binary) console.warn('TEST_NGINX (path of nginx) is not set: tests behind a caching proxy are skipped')
  return binary || undefined
}

/** Python with Alembic (`scripts/alembic.sh`), or undefined, said aloud: then the tests beside Alembic are skipped. */
export function testAlembic(): string | undefined {
  const python = process.env['TEST_ALEMBIC']
  if (!python)
    console.warn('TEST_ALEMBIC (see scripts/alembic.sh) is not set: tests beside Alembic are skipped')
  return python || undefined
}
