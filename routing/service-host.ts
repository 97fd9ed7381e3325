// Under which host name apps call a service: its path segments backwards, joined by dots, in lower case.

/** `payments` is `payments`; `shop/payments` is `payments.shop`. */
export function hostOf(service: string): string {
  return service.split('/').reverse().join('.').toLowerCase();
}
