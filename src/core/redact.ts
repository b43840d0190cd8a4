/** What may be said of a URL that may hold a secret: in its user, its path or its query. */

/** `https://hc-ping.com/…`; what is no URL is not repeated at all. */
export function redactUrl(text: string): string {
  const url = URL.parse(text)
  if (url === null || url.host === '') return 'REDACTED'
  return url.username === '' && url.search === '' && url.pathname.length <= 1
    ? url.origin
    : `${url.protocol}//${url.host}/…`
}

/** What was given for an address, as given, and not the password that may be in it: `http://user:***@host`. */
export function hidePassword(text: string): string {
  const end = text.lastIndexOf('@')
  const name = /^(?:[a-z][a-z0-9+.-]*:\/\/)?[^:@]*:/i.exec(text.slice(0, Math.max(0, end)))?.[0]
  return name === undefined ? text : `${name}***${text.slice(end)}`
}
