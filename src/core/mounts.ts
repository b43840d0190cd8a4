/** What Linux says of its mounts: fstab(5), and /proc/PID/mountinfo of proc(5). */
import path from 'node:path'

/** Blanks, tabs, backslashes in names are written as three octal digits. */
const unescaped = (name: string): string =>
  name.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))

/** Places that an fstab names, without those that are none (`none`, `swap`). */
export function mountPointsOf(fstab: string): string[] {
  return fstab.split('\n').flatMap(line => {
    const [device = '', place = ''] = line.trim().split(/\s+/)
    return device.startsWith('#') || !place.startsWith('/') ? [] : [path.posix.resolve(unescaped(place))]
  })
}

/** Places where something is mounted; an automount counts as one. */
export function mountedPlaces(mountinfo: string): string[] {
  return mountinfo.split('\n').flatMap(line => {
    const place = line.split(' ')[4]
    return place === undefined ? [] : [unescaped(place)]
  })
}

/**
 * Where the disk of a folder should be mounted, and is not: the nearest place of the fstab on the way to it.
 *
 * @param folder absolute, its links resolved
 */
export function missingMount(folder: string, fstab: string, mountinfo: string): string | undefined {
  const mounted = new Set(mountedPlaces(mountinfo))
  const known = new Set(mountPointsOf(fstab))
  for (let place = folder; place !== '/' && place !== '.'; place = path.posix.dirname(place)) {
    if (mounted.has(place)) return undefined
    if (known.has(place)) return place
  }
  return undefined
}
