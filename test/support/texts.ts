/** The words that a program says: every string literal and template of its sources, told by the syntax tree. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import {
  type ArrayExpression,
  type CallExpression,
  type EcmaScriptModule,
  type Expression,
  type NewExpression,
  type Program,
  parseSync,
  Visitor,
} from 'oxc-parser'

export interface Text {
  readonly file: string
  /** 1-based */
  readonly line: number
  /** offsets of the literal in the file, quotes included */
  readonly start: number
  readonly end: number
  /** what it says; `…` stands for what is filled in */
  readonly says: string
}

/** What stands for a value that is filled in. */
const filled = '\u2026'
const namesCure = /^(cure|.*Cures?)$/
/** Tables of causes with their cures, the cure last. */
const cureTables = new Set(['refusals', 'certificateCures', 'roles'])

interface Sources {
  readonly texts: readonly Text[]
  /** whole cures, the parts of one that is put together joined */
  readonly cures: readonly Text[]
  /** where a cure is, and nothing that could be read or that stands elsewhere as a cure */
  readonly unread: readonly Text[]
}

/** Whether it is a cure that was written elsewhere, or none. */
const isHandedOn = (expression: string): boolean => /cure|^undefined$/i.test(expression)

/** The name by which a function or a method is called. */
function nameOf(callee: Expression): string | undefined {
  if (callee.type === 'Identifier') return callee.name
  if (callee.type !== 'MemberExpression' || callee.computed) return undefined
  return callee.property.name
}

/** Functions, methods and classes that take a cure, by name, with the place among their arguments. */
function cureTakers(program: Program): Map<string, number> {
  const takers = new Map<string, number>()
  const note = (name: string | undefined, { params }: { params: readonly unknown[] }) => {
    const place = params.findIndex(one => {
      const { name, left } = one as { name?: string; left?: { name?: string } }
      return (name ?? left?.name) === 'cure'
    })
    if (name !== undefined && place >= 0) takers.set(name, place)
  }
  new Visitor({
    FunctionDeclaration: node => note(node.id?.name, node),
    VariableDeclarator({ id, init }) {
      if (id.type === 'Identifier' && init?.type === 'ArrowFunctionExpression') note(id.name, init)
    },
    ClassDeclaration({ id, body }) {
      for (const one of body.body) {
        if (one.type !== 'MethodDefinition') continue
        const name = 'name' in one.key ? (one.key.name as string) : undefined
        note(one.kind === 'constructor' ? id?.name : name, one.value)
      }
    },
  }).visit(program)
  return takers
}

/** The same of what a file imports, under the names that it has there. */
function imported(file: string, { staticImports }: EcmaScriptModule): [string, number][] {
  return staticImports
    .filter(({ moduleRequest: { value } }) => value.startsWith('.'))
    .flatMap(({ moduleRequest, entries }) => {
      const takers = exportedTakers(path.join(path.dirname(file), moduleRequest.value))
      return entries.flatMap(({ importName, localName }): [string, number][] => {
        const place = takers.get(importName.name ?? '')
        return place === undefined ? [] : [[localName.value, place]]
      })
    })
}

const known = new Map<string, Map<string, number>>()
function exportedTakers(file: string): Map<string, number> {
  const takers = known.get(file) ?? cureTakers(parseSync(file, readFileSync(file, 'utf8')).program)
  known.set(file, takers)
  return takers
}

/** Every string of a TypeScript file, and which of them are cures. */
export function textsOf(file: string): Sources {
  const source = readFileSync(file, 'utf8')
  const { program, module } = parseSync(file, source)
  const takers = new Map([...imported(file, module), ...cureTakers(program)])
  const texts: Text[] = []
  const cures: Text[] = []
  const unread: Text[] = []
  const constants = new Map<string, Expression>()
  new Visitor({
    VariableDeclarator({ id, init }) {
      if (id.type === 'Identifier' && init !== null && /Literal$|^BinaryExpression$/.test(init.type))
        constants.set(id.name, init)
    },
  }).visit(program)
  const lineOf = (offset: number) => source.slice(0, offset).split('\n').length
  const text = (start: number, end: number, says: string): Text => ({
    file,
    line: lineOf(start),
    start,
    end,
    says,
  })

  /** What an expression may say, one entry for each branch; undefined where it is not written here. */
  const sayings = (node: Expression): { start: number; end: number; says: string }[] => {
    switch (node.type) {
      case 'Literal':
        return typeof node.value === 'string' ? [{ start: node.start, end: node.end, says: node.value }] : []
      case 'TemplateLiteral':
        return [
          {
            start: node.start,
            end: node.end,
            says: node.quasis.map(({ value }) => value.cooked ?? value.raw).join(filled),
          },
        ]
      case 'ConditionalExpression':
        return [...sayings(node.consequent), ...sayings(node.alternate)]
      case 'LogicalExpression':
        return [...sayings(node.left), ...sayings(node.right)]
      case 'ParenthesizedExpression':
        return sayings(node.expression)
      case 'BinaryExpression': {
        if (node.operator !== '+') return []
        const says = [sayings(node.left), sayings(node.right)].map(([part]) => part?.says ?? filled).join('')
        return [{ start: node.start, end: node.end, says }]
      }
      default:
        if (node.type === 'Identifier' && constants.has(node.name)) return sayings(constants.get(node.name)!)
        if (!isHandedOn(source.slice(node.start, node.end)))
          unread.push(text(node.start, node.end, source.slice(node.start, node.end)))
        return []
    }
  }
  const cure = (node: Expression | null | undefined): void => {
    if (node == null) return
    if (node.type === 'TSAsExpression') cure(node.expression)
    else if (node.type === 'ObjectExpression') {
      for (const one of node.properties) if (one.type === 'Property') cure(one.value as Expression)
    } else if (node.type === 'ArrayExpression') for (const row of node.elements) lastOf(row as Expression)
    else for (const { start, end, says } of sayings(node)) cures.push(text(start, end, says))
  }
  const lastOf = (row: Expression | null): void => {
    if (row?.type === 'ArrayExpression') cure((row as ArrayExpression).elements.at(-1) as Expression)
    else cure(row)
  }
  const inFunction: string[] = []
  const called = ({ callee, arguments: given }: CallExpression | NewExpression): void => {
    const name = nameOf(callee)
    const place = name === undefined ? undefined : takers.get(name)
    if (place !== undefined) cure(given[place] as Expression | undefined)
  }

  new Visitor({
    Literal(node) {
      if (typeof node.value === 'string') texts.push(text(node.start, node.end, node.value))
    },
    TemplateLiteral(node) {
      texts.push(
        text(node.start, node.end, node.quasis.map(({ value }) => value.cooked ?? value.raw).join(filled)),
      )
    },
    Property(node) {
      if (node.key.type === 'Identifier' && namesCure.test(node.key.name) && !node.shorthand)
        cure(node.value as Expression)
    },
    VariableDeclarator(node) {
      if (node.id.type !== 'Identifier' || node.init === null) return
      if (cureTables.has(node.id.name) && node.init.type === 'ObjectExpression') {
        for (const one of node.init.properties) {
          if (one.type === 'Property' && one.value.type === 'ArrayExpression') lastOf(one.value as Expression)
        }
      } else if (namesCure.test(node.id.name) || cureTables.has(node.id.name)) cure(node.init)
    },
    ArrayExpression(node) {
      // a row of db/errors.ts: kind of error, code, cause, cure
      const [kind] = node.elements
      if (kind?.type === 'Identifier' && /^(Temporary|Fatal)Error$/.test(kind.name))
        cure(node.elements[3] as Expression)
    },
    CallExpression: called,
    NewExpression: called,
    FunctionDeclaration(node) {
      inFunction.push(node.id?.name ?? '')
    },
    'FunctionDeclaration:exit'() {
      inFunction.pop()
    },
    MethodDefinition({ key }) {
      inFunction.push('name' in key ? (key.name as string) : '')
    },
    'MethodDefinition:exit'() {
      inFunction.pop()
    },
    ReturnStatement(node) {
      if (/cure/i.test(inFunction.at(-1) ?? '')) cure(node.argument)
    },
  }).visit(program)
  return {
    texts,
    unread,
    cures: [...new Map(cures.filter(({ says }) => says.includes(' ')).map(one => [one.start, one])).values()],
  }
}
