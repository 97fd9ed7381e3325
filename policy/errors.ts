// Why a policy is refused. A refused policy never half-applies: the old one stays.
import { defineErrors } from '#base/error';

export const policyErrors = {
  POLICY_INVALID: {
    message: 'the policy is refused: {reason}',
    hint: 'run: postern policy check FILE; the policy that was in force stays',
    status: 400,
    retryable: false,
  },
  POLICY_TOO_COMPLEX: {
    message: 'no exact answer can be had: {what}',
    hint: 'ask about less, or write the rules with fewer overlapping patterns and conditions; nothing was guessed',
    status: 400,
    retryable: false,
  },
  POLICY_CASBIN: {
    message: 'casbin cannot answer: {reason}',
    hint: 'treat it as a deny',
    status: 500,
    retryable: false,
  },
} as const;

export const fail = defineErrors(policyErrors);
