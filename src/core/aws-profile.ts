/** What AWS's shared configuration files say of a profile. Source: AWS SDKs and Tools Reference Guide, "Shared config files". */

export interface AwsProfile {
  readonly region?: string
  /** where S3 is to be asked: of the profile's `services`, else its `endpoint_url` */
  readonly endpoint?: string
}

interface Section {
  readonly kind: string
  readonly name: string
  readonly values: Map<string, string>
}

/** The names of all profiles in ~/.aws/config and ~/.aws/credentials, sorted. */
export function profileNames(config: string, credentials: string): string[] {
  const named = [
    ...sectionsOf(config).flatMap(section => (isProfile(section) ? section.name : [])),
    ...sectionsOf(credentials).map(({ kind, name }) => (name === '' ? kind : name)),
  ]
  return [...new Set(named)].sort()
}

/**
 * Region and endpoint of a profile; nothing if it is not there.
 * @param config text of ~/.aws/config
 */
export function readProfile(config: string, profile: string): AwsProfile {
  const sections = sectionsOf(config)
  const values = sections.find(section => isProfile(section) && section.name === profile)?.values
  const services = sections.find(
    ({ kind, name }) => kind === 'services' && name !== '' && name === values?.get('services'),
  )?.values
  const region = values?.get('region')
  const endpoint = services?.get('s3.endpoint_url') ?? values?.get('endpoint_url')
  const ignored = values?.get('ignore_configured_endpoint_urls') === 'true'
  return {
    ...(region !== undefined && region !== '' && { region }),
    ...(endpoint !== undefined && endpoint !== '' && !ignored && { endpoint }),
  }
}

function isProfile({ kind, name }: Section): boolean {
  return kind === 'profile' && name !== ''
}

/** `[default]`, `[profile NAME]`, `[services NAME]`; settings of a setting (`s3 =`, then indented lines) as `s3.NAME`. */
function sectionsOf(text: string): Section[] {
  const sections: Section[] = []
  let group = ''
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*([#;]|$)/.test(line)) continue
    const [, heading] = /^\[\s*([^\]]+?)\s*\]/.exec(line) ?? []
    if (heading !== undefined) {
      const [, kind = heading, name = ''] = /^(\S+)\s+"?(.+?)"?$/.exec(heading) ?? []
      const isDefault = kind === 'default' && name === ''
      sections.push({
        kind: isDefault ? 'profile' : kind,
        name: isDefault ? 'default' : name,
        values: new Map(),
      })
      group = ''
      continue
    }
    const [, indent = '', name = '', value = ''] = /^(\s*)([^=\s]+)\s*=\s*(.*?)\s*$/.exec(line) ?? []
    if (name === '') continue
    if (indent === '') group = value === '' ? name : ''
    const key = indent !== '' && group !== '' ? `${group}.${name}` : name
    sections.at(-1)?.values.set(key, value)
  }
  return sections
}
