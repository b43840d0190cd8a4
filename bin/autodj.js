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
  import('node:module').then(nodeModule => {
    nodeModule.enableCompileCache()
    return import('../dist/src/main.js')
  })
}
