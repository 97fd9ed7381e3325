// Why records are lost or an audit question is refused. The AUDIT_ codes of losses are also the `reason` of gap records.
import { defineErrors } from '#base/error';

export const auditErrors = {
  AUDIT_QUEUE_FULL: {
    message: '{lost} records were lost: the disk did not keep up ({reason})',
    hint: 'free or speed up the disk under {folder}; record.mode block refuses traffic instead of losing records',
    status: 503,
    retryable: true,
  },
  AUDIT_RETENTION: {
    message: '{lost} records were dropped before the control plane had them: {folder} is full',
    hint: 'check that the control plane is reachable, or raise the size limit of the record log',
    status: 503,
    retryable: true,
  },
  AUDIT_TAIL_TORN: {
    message: 'the last record of {path} was torn by a crash and has been cut off',
    status: 500,
    retryable: false,
  },
  AUDIT_FILE_DAMAGED: {
    message: '{lost} records of {path} are gone: {reason}',
    hint: 'somebody changed or removed the file while the proxy was running; find out who may write there',
    status: 500,
    retryable: false,
  },
  AUDIT_THREAD_ENDED: {
    message: '{lost} records were lost with the thread that had made them',
    hint: 'look at the sidecar log for why it ended',
    status: 500,
    retryable: false,
  },
  AUDIT_SEQUENCE_RESTARTED: {
    message: 'instance {instance} used sequence {seq} again for another record',
    hint: 'its record folder was emptied or replaced by an older copy; both records are kept',
    status: 409,
    retryable: false,
  },
  AUDIT_BLOCKED: {
    message: 'requests are refused because decisions cannot be recorded ({reason})',
    hint: 'free the disk under {folder}, or let the record log count losses instead of blocking',
    status: 503,
    retryable: true,
    exposed: 'the service cannot take requests now',
  },
  AUDIT_CHECKPOINT_INVALID: {
    message: 'the checkpoint of {instance} is not signed by its key, or not of its log',
    status: 400,
    retryable: false,
  },
  AUDIT_LOG_FORKED: {
    message: 'the decision log of {instance} was rewritten: {reason}',
    hint: 'somebody changed what was recorded; keep the folder, compare it with postern audit verify --against, enrol the instance again',
    status: 409,
    retryable: false,
  },
  AUDIT_LOG_ROLLED_BACK: {
    message: 'records at the end of the decision log of {instance} are gone: {reason}',
    hint: 'its folder was cut or replaced by an older copy; what was received is in postern audit query',
    status: 409,
    retryable: false,
  },
  AUDIT_LOG_KEY_CHANGED: {
    message: 'the key of the decision log of {instance} was replaced: {reason}',
    hint: 'find out who may write in its folder, then enrol the instance again',
    status: 409,
    retryable: false,
  },
  AUDIT_LOG_REPLACED: {
    message: 'the decision log of {instance} was broken and begun anew: {reason}',
    hint: 'look at what was set aside in its folder, then run: postern audit logs --acknowledge {instance}',
    status: 409,
    retryable: false,
  },
  AUDIT_LOG_SILENT: {
    message: 'the decision log of {instance} is silent: {reason}',
    hint: 'look at the sidecar log of that instance: its disk may be full',
    status: 409,
    retryable: true,
  },
} as const;

export const fail = defineErrors(auditErrors);
