// Brings: @cloche.modules
// What `import { … } from "workflow"` means in a workflow: the modules under Symbol.for("cloche.modules"), which compiled code
// takes its names from.
(own) => {
  "use strict";

  const { hide, lasting } = own;
  const { freeze, create, defineProperty, getOwnPropertyDescriptor } = Object;
  const { apply } = Reflect;
  const { isError } = Error;
  const symbolFor = Symbol.for;
  const word = (name) => globalThis[symbolFor(name)];
  const [ErrorOf, TypeErrorOf, DateOf, StringOf] = [Error, TypeError, Date, String];
  const { now } = Date;

  class FatalError extends ErrorOf {
    constructor(message, options) {
      super(message, options);
      hide(this, "name", "FatalError");
      hide(this, "fatal", true);
    }
    static is(value) {
      return isError(value) && (value.name === "FatalError" || value.fatal === true);
    }
  }
  class RetryableError extends ErrorOf {
    constructor(message, options) {
      super(message);
      hide(this, "name", "RetryableError");
      const { retryAfter = 1_000 } = options ?? {};
      this.retryAfter = retryAfter instanceof DateOf ? retryAfter : new DateOf(now() + lasting(retryAfter));
    }
    static is(value) {
      return isError(value) && value.name === "RetryableError";
    }
  }
  class HookConflictError extends ErrorOf {
    constructor(token, runId) {
      super("Hook token \"" + token + "\" is already in use by another workflow" + (runId ? " (run \"" + runId + "\")" : ""));
      hide(this, "name", "HookConflictError");
      this.token = token;
      if (runId !== undefined) this.conflictingRunId = runId;
    }
    static is(value) {
      return isError(value) && value.name === "HookConflictError";
    }
  }
  own.errors = { __proto__: null, FatalError, RetryableError, HookConflictError };

  const inStepsOnly = (name) => ({
    [name]() {
      throw new ErrorOf(name + "() is not there in a workflow function: call it in a step");
    },
  })[name];

  const useStep = word("WORKFLOW_USE_STEP");
  const createHook = word("WORKFLOW_CREATE_HOOK");
  const getWritable = (options) => {
    const name = word("WORKFLOW_GET_STREAM_ID")?.(options?.namespace);
    if (name === undefined) throw new TypeErrorOf("getWritable belongs in the workflow function");
    return create(globalThis.WritableStream.prototype, { [symbolFor("WORKFLOW_STREAM_NAME")]: { value: name } });
  };
  const getWorkflowMetadata = () => {
    const context = word("WORKFLOW_CONTEXT");
    if (context === undefined) throw new TypeErrorOf("getWorkflowMetadata belongs in the workflow function");
    return context;
  };
  const createWebhook = (options) => createHook({ ...options, isWebhook: true, metadata: { respondWith: options?.respondWith } });
  const defineHook = () => ({ create: (options) => createHook(options), resume: inStepsOnly("resume") });

  // A run of its own; what it is asked for are steps that the host answers.
  class Run {
    constructor(runId) {
      this.runId = runId;
    }
    get readable() {
      return this.getReadable();
    }
    static [symbolFor("workflow-serialize")](run) {
      return { runId: run.runId };
    }
    static [symbolFor("workflow-deserialize")]({ runId }) {
      return new Run(runId);
    }
  }
  defineProperty(Run, "classId", { __proto__: null, value: "class//workflow//Run" });
  own.Run = Run;
  const RUN = "step//@workflow/core/runtime/run//Run#";
  for (const name of ["cancel", "wakeUp", "getReadable"]) hide(Run.prototype, name, useStep(RUN + name));
  for (const name of ["status", "returnValue", "exists", "workflowName", "createdAt", "startedAt", "completedAt"]) {
    const asked = useStep(RUN + name);
    const members = {
      get [name]() {
        return apply(asked, this, []);
      },
    };
    defineProperty(Run.prototype, name, { ...getOwnPropertyDescriptor(members, name), enumerable: false });
  }
  const start = useStep("step//@workflow/core/runtime/start//start");
  const getRun = (id) => new Run(StringOf(id));

  const api = {
    start, getRun, Run, resumeHook: inStepsOnly("resumeHook"), resumeWebhook: inStepsOnly("resumeWebhook"), getWorld: inStepsOnly("getWorld"),
  };
  const errors = { FatalError, RetryableError, HookConflictError };
  const workflow = {
    sleep: word("WORKFLOW_SLEEP"), createHook, createWebhook, defineHook, getWritable, getWorkflowMetadata,
    getStepMetadata: inStepsOnly("getStepMetadata"), setAttributes: word("WORKFLOW_SET_ATTRIBUTES"),
    fetch: useStep("step//./workflow/dist/stdlib//fetch"), start, getRun, ...errors,
  };
  const module = (members) => freeze({ __proto__: null, ...members });
  const modules = freeze({
    __proto__: null,
    workflow: module(workflow),
    "workflow/api": module(api),
    "workflow/errors": module(errors),
    "@workflow/errors": module(errors),
    "@workflow/core": module({ ...workflow, ...api }),
  });
  return { "@cloche.modules": modules };
};
