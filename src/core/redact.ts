/** What may be said of a URL that may hold a secret: in its user, its path or its query. */

/** `https://hc-ping.com/…`; what is no URL is not repeated at all. */
export function redactUrl(text: string): string {
  const url = URL.parse(text)
  if (url === null || url.host === '') return 'REDACTED'
  return url.username === '' && url.search === '' && url.pathname.length <= 1
    ? url.origin
    : `${url.protocol}//${url.host}/…`
}
