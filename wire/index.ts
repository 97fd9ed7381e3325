// The messages between processes.

export type {
  ApplyReply,
  ApplyRequest,
  Ban,
  BanRequest,
  BundleReply,
  CaCertificate,
  CaStatus,
  ErrorReply,
  EventReply,
  IdentityStatus,
  PolicyVersion,
  ProxyStatus,
  RecordQuery,
  RecordReply,
  RollbackRequest,
  RotateRequest,
  StatusReply,
  TokenList,
  TokenReply,
  TokenRequest,
  VersionReply,
} from './admin.ts';
export {
  applyRequest,
  banRequest,
  longestTokenTtlMs,
  recordQuery,
  rollbackRequest,
  rotateRequest,
  tokenRequest,
} from './admin.ts';
export type {
  ClusterEntry,
  ClusterResource,
  DnsEndpoints,
  HashOn,
  HealthCheck,
  LoadBalancing,
  StaticEndpoint,
  TlsOrigination,
} from './cluster.ts';
export { clusterFields, loadBalancingPolicies } from './cluster.ts';
export type { EnrolRequest, InstanceFacts, JoinTokenClaims, RenewRequest, SvidReply } from './enrolment.ts';
export {
  enrolRequest,
  joinTokenAudience,
  joinTokenClaims,
  joinTokenType,
  renewRequest,
  svidReply,
} from './enrolment.ts';
export type { DumpAnswer, DumpReply, LookEvent, TapBatch, TapFilter, TapLine, TapReceipt } from './look.ts';
export {
  dumpAnswer,
  largestDump,
  longestTapMs,
  lookEvent,
  mostTapped,
  tapBatch,
  tapReceipt,
  tapRequest,
} from './look.ts';
export type { MeshEntry, MeshResource } from './mesh.ts';
export type { ControlEvent, DecisionRecord, RecordReceipt } from './record.ts';
export { decisionRecord, recordBatch } from './record.ts';
export type {
  AssertionResource,
  CasbinModelResource,
  GroupResource,
  InvariantResource,
  JwtIssuerResource,
  LocatedResource,
  Origin,
  PolicyResource,
  Resource,
  ResourceKind,
  RuleResource,
} from './resources.ts';
export { resourceSchemas } from './resources.ts';
export type { ServiceName, ServiceReport } from './service.ts';
export { mostRules } from './service.ts';
export type {
  CasbinModel,
  Endpoint,
  PolicyRule,
  PolicySet,
  ProxyReport,
  ServiceEntry,
  Snapshot,
  SnapshotChange,
  UrgentPart,
  WatchEvent,
  WatchRequest,
} from './snapshot.ts';
export {
  leaseMs,
  policySet,
  proxyReport,
  reportEveryMs,
  snapshotChange,
  snapshotSchema,
  urgentSchema,
  watchPingMs,
  watchRequest,
} from './snapshot.ts';
export { wireVersion } from './version.ts';
export type {
  Cors,
  Fault,
  HeaderChanges,
  HttpMatch,
  HttpRoute,
  PathMatch,
  RateLimit,
  Retries,
  TcpRoute,
  TextMatch,
  TlsRoute,
  VirtualServiceEntry,
  VirtualServiceResource,
  WeightedTarget,
} from './virtual-service.ts';
export { retryConditions } from './virtual-service.ts';
export type { CheckpointReply, CheckpointRequest, MaskReply, WitnessedLog, WitnessReply } from './witness.ts';
export { acknowledgeRequest, checkpointReply, checkpointRequest, maskRequest, tallyQuery } from './witness.ts';
