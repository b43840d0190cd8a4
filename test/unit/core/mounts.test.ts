import { describe, expect, test } from 'vitest'
import { missingMount, mountedPlaces, mountPointsOf } from '../../../src/core/mounts.ts'

const fstab = `# /etc/fstab: static file system information.
UUID=0a3407de-014b-458b-b5c1-848e92a327a3 /  ext4 errors=remount-ro 0 1
/dev/sda2\tnone\tswap\tsw\t0\t0
  //nas/music   /srv/music\\040box/  cifs  credentials=/root/.nas 0 0
nas:/audio /srv/music\\040box/audio nfs noauto 0 0
#/dev/sdc1 /srv/off ext4 defaults 0 0
`
const mounts = (...places: string[]) =>
  [
    '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw',
    '23 22 0:21 / /proc rw - proc proc rw',
    ...places.map((place, at) => `${100 + at} 22 0:${50 + at} / ${place} rw - cifs //nas/music rw`),
    '',
  ].join('\n')

test('places of an fstab', () => {
  expect(mountPointsOf(fstab)).toEqual(['/', '/srv/music box', '/srv/music box/audio'])
})

test('places where something is mounted', () => {
  expect(mountedPlaces(mounts('/srv/music\\040box'))).toEqual(['/', '/proc', '/srv/music box'])
})

describe('missingMount', () => {
  test.each<[string, string[], string | undefined]>([
    ['/srv/music box', [], '/srv/music box'],
    ['/srv/music box/tracks', [], '/srv/music box'],
    ['/srv/music box/audio', ['/srv/music\\040box'], '/srv/music box/audio'],
    ['/srv/music box/tracks', ['/srv/music\\040box'], undefined],
    ['/srv/music box', ['/srv/music\\040box'], undefined],
    ['/srv/music box/tracks/deep', ['/srv/music\\040box/tracks'], undefined],
    ['/srv/music box 2', [], undefined],
    ['/srv/off', [], undefined],
    ['/', [], undefined],
  ])('%s with %j mounted', (folder, mounted, missing) => {
    expect(missingMount(folder, fstab, mounts(...mounted))).toBe(missing)
  })

  test('nothing is known of systems without such files', () => {
    expect(missingMount('/srv/music', '', '')).toBeUndefined()
  })
})
