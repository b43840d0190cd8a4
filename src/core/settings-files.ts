/** Which settings the application has a name for, and what follows for the files that hold them. */

/**
 * Every key that the application reads from its `.env`. It refuses any other: one foreign key, and it does not start.
 * So what is autodj's own stands in `autodj.env` beside it.
 */
export const applicationKeys: ReadonlySet<string> = new Set([
  'ACCESS_TOKEN_EXPIRE_MINUTES',
  'ALGORITHM',
  'API_V1_STR',
  'AUDIO_STORAGE_PATH',
  'AWS_ACCESS_KEY_ID',
  'AWS_REGION',
  'AWS_SECRET_ACCESS_KEY',
  'CELERY_BROKER_URL',
  'CELERY_RESULT_BACKEND',
  'CLOUDFRONT_DOMAIN',
  'CORS_ORIGINS',
  'DATABASE_URL',
  'DEBUG',
  'DESCRIPTION',
  'ENVIRONMENT',
  'HOST',
  'LOG_LEVEL',
  'MAX_AUDIO_CACHE_GB',
  'PORT',
  'PROJECT_NAME',
  'REDIS_URL',
  'S3_BUCKET_NAME',
  'SECRET_KEY',
  'SPOTIFY_CLIENT_ID',
  'SPOTIFY_CLIENT_SECRET',
  'SPOTIFY_REDIRECT_URI',
  'VERSION',
  'YTDL_MAX_DOWNLOADS_PER_MINUTE',
  'YTDL_RATE_LIMIT',
])

export const ownFileName = 'autodj.env'

/** Keys that nothing but the application has a use for. */
const telling = [
  'SECRET_KEY',
  'CELERY_BROKER_URL',
  'CELERY_RESULT_BACKEND',
  'REDIS_URL',
  'SPOTIFY_CLIENT_ID',
  'SPOTIFY_CLIENT_SECRET',
  'SPOTIFY_REDIRECT_URI',
]

/** Whether a file with these keys is an application's `.env`. */
export function isApplicationFile(keys: readonly string[]): boolean {
  return telling.filter(key => keys.includes(key)).length >= 2
}

/** Keys for which the application refuses this file of its own; none of a file that is not its. */
export function refusedByApplication(keys: readonly string[]): string[] {
  return isApplicationFile(keys) ? keys.filter(key => !applicationKeys.has(key)) : []
}
