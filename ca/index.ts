// The issuing side of identities: one authority for each home. Only the control plane and the CLI open this door, never a proxy.
export type { Authority, AuthorityOptions, CaEvent } from './authority.ts';
export { initAuthority, openAuthority } from './authority.ts';
export type { IssuedSvid } from './enrolment.ts';
export type { OwnRoot } from './own-root.ts';
export { exportPkcs12 } from './pkcs12.ts';
export type { CaSettings } from './settings.ts';
