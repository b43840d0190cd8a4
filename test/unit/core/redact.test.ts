import { expect, test } from 'vitest'
import { hidePassword, redactUrl } from '../../../src/core/redact.ts'

test.each([
  ['https://hc-ping.com/0b3c-secret', 'https://hc-ping.com/…'],
  ['https://user:secret@host.example:8443/', 'https://host.example:8443/…'],
  ['https://host.example?key=secret', 'https://host.example/…'],
  ['https://host.example/a?key=secret#secret', 'https://host.example/…'],
  ['https://music.example/{spotify_id}.mp3', 'https://music.example/…'],
  ['https://host.example', 'https://host.example'],
  ['https://host.example/', 'https://host.example'],
  ['https://secret@host.example', 'https://host.example/…'],
  ['https://:secret@host.example', 'https://host.example'],
  ['file:///etc/secret', 'REDACTED'],
  ['secret', 'REDACTED'],
  ['', 'REDACTED'],
])('%s may be shown as %s', (url, shown) => expect(redactUrl(url)).toBe(shown))

test.each([
  ['http://user:secret@host:8443/', 'http://user:***@host:8443/'],
  ['http://user:se/cr@et@host', 'http://user:***@host'],
  ['user:secret@host:9000', 'user:***@host:9000'],
  [':secret@host', ':***@host'],
  ['user@host', 'user@host'],
  ['https://host:9000/path', 'https://host:9000/path'],
  ['host:9000', 'host:9000'],
  ['', ''],
])('%s is shown as %s', (text, shown) => expect(hidePassword(text)).toBe(shown))
