/** URL of the PostgreSQL server for tests, or undefined, said aloud: then the tests that want one are skipped. */
export function testPostgres(): string | undefined {
  const url = process.env['TEST_POSTGRES_URL']
  if (!url) console.warn('TEST_POSTGRES_URL is not set: tests on PostgreSQL are skipped')
  return url || undefined
}
