// Services as people name them: the name in the own trust domain is short for the SPIFFE ID.

/** The name of an ID of the own trust domain; of any other ID, and of a prefix (`.../**`), the text as it is. */
export function shortId(id: string, trustDomain: string): string {
  const own = `spiffe://${trustDomain}/`;
  return id.startsWith(own) && !id.endsWith('/**') ? id.slice(own.length) : id;
}

/** The ID that a name or an ID means. */
export function fullId(name: string, trustDomain: string): string {
  return name.startsWith('spiffe://') ? name : `spiffe://${trustDomain}/${name}`;
}
