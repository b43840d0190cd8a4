import { expect, test } from 'vitest'
import { redactUrl } from '../../../src/core/redact.ts'

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
