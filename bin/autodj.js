#!/usr/bin/env node
// Must parse on any Node.js: it is what tells an old one apart.
var version = process.versions.node.split('.').map(Number)
if (version[0] < 22 || (version[0] === 22 && version[1] < 18)) {
  process.stderr.write(
    'autodj needs Node.js 22.18 or later; this is ' +
      process.versions.node +
      '. Install a current one from https://nodejs.org (or `nvm install 24`).\n',
  )
  process.exitCode = 1
} else {
  // Syncs and writes wait for the disk here, many at a time: those that wait together are one write of its journal.
  process.env.UV_THREADPOOL_SIZE = process.env.UV_THREADPOOL_SIZE || '16'
  Promise.all([import('node:module'), import('node:fs'), import('node:os')]).then(modules => {
    // The cache would make a TMPDIR that is not there (not mounted, misspelt), and nobody would notice.
    if (modules[1].existsSync(modules[2].tmpdir())) modules[0].enableCompileCache()
    return import('../dist/program/main.js')
  })
}
