/** nginx as a caching proxy of a test's own: an independent server between verify and the bucket. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './listening.ts'
import { temporaryFolder } from './temporary-folder.ts'

export interface Nginx {
  /** `http://127.0.0.1:port` */
  url: string
  close(): Promise<void>
}

/**
 * Starts nginx in the foreground with a cache in front of `upstream`, which is asked with the path as the viewer
 * sent it. It is set up as its manual says and says of itself what nginx says: `Server` and the usual `X-Cache-Status`.
 * @param bucket put before the path
 * @param forStore before the store itself, without a cache: bodies of 1 MiB at most, as it comes
 */
export async function startNginx(
  binary: string,
  upstream: string,
  { bucket, forStore = false }: { bucket?: string; forStore?: boolean } = {},
): Promise<Nginx> {
  const folder = temporaryFolder('nginx')
  for (const name of ['cache', 'body', 'proxy']) await mkdir(path.join(folder, name))
  const port = await freePort()
  const configuration = path.join(folder, 'nginx.conf')
  await writeFile(
    configuration,
    `daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log warn;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 512; }
http {
  access_log off; merge_slashes off; server_tokens off; keepalive_requests 1000000;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/body; uwsgi_temp_path ${folder}/body; scgi_temp_path ${folder}/body;
  proxy_cache_path ${folder}/cache keys_zone=audio:10m max_size=1g;
  upstream origin { server ${new URL(upstream).host}; keepalive 32; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://origin${bucket === undefined ? '' : `/${bucket}$request_uri`}; proxy_http_version 1.1; proxy_set_header Connection "";
${forStore ? 'proxy_set_header Host $http_host; proxy_cache off;' : 'proxy_cache audio;'} proxy_cache_valid 200 1h; proxy_ignore_headers X-Accel-Expires; proxy_force_ranges on;
      proxy_hide_header X-Cache; proxy_hide_header Via; proxy_hide_header X-Amz-Cf-Pop; proxy_hide_header X-Amz-Cf-Id;
      add_header X-Cache-Status $upstream_cache_status always;
    }
  }
}
`,
  )
  const server = spawn(binary, ['-c', configuration, '-p', folder, '-e', `${folder}/error.log`], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const exited = once(server, 'exit')
  for (let tries = 0; !(await answers(port)); tries++) {
    if (server.exitCode !== null || tries > 100) throw new Error('nginx did not start')
    await sleep(50)
  }
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.kill('SIGTERM')
      await exited
    },
  }
}

async function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
