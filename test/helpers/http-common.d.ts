// Node's own HTTP parser binding has no types; tests use it as the oracle of our codec.
declare module 'node:_http_common' {
  const parts: unknown;
  export default parts;
}
