// The guide's JavaScript integration with today's packages: OpenTelemetry's Node SDK by OTLP/HTTP, OpenInference attributes.
//
// Where to send, with which token, and which CA to trust: from the environment, as `agentstack connect` prints it
// (OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS and _CERTIFICATE are read by the exporter itself).
import {
  INPUT_MIME_TYPE,
  INPUT_VALUE,
  LLM_MODEL_NAME,
  LLM_PROVIDER,
  LLM_TOKEN_COUNT_COMPLETION,
  LLM_TOKEN_COUNT_PROMPT,
  LLM_TOKEN_COUNT_TOTAL,
  MimeType,
  OpenInferenceSpanKind,
  OUTPUT_MIME_TYPE,
  OUTPUT_VALUE,
  SemanticConventions,
  SEMRESATTRS_PROJECT_NAME,
} from '@arizeai/openinference-semantic-conventions';
import { SpanStatusCode, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { ATTR_SERVICE_NAME } from '@opentelemetry/semantic-conventions';

const sdk = new NodeSDK({
  resource: resourceFromAttributes({
    [ATTR_SERVICE_NAME]: process.env.OTEL_SERVICE_NAME ?? 'agentstack-app',
    'deployment.environment': 'production',
    [SEMRESATTRS_PROJECT_NAME]: process.env.PHOENIX_PROJECT_NAME ?? 'agentstack-production',
  }),
  traceExporter: new OTLPTraceExporter(),
});
sdk.start();

const openai = process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:8080/v1';
const tracer = trace.getTracer('agentstack-example');

/** One chat completion, as an LLM span: model, messages, tokens, or the error. */
async function complete(model, messages) {
  return tracer.startActiveSpan('chat', async (span) => {
    span.setAttributes({
      [SemanticConventions.OPENINFERENCE_SPAN_KIND]: OpenInferenceSpanKind.LLM,
      [LLM_MODEL_NAME]: model,
      [LLM_PROVIDER]: 'openai',
      [INPUT_VALUE]: JSON.stringify({ messages }),
      [INPUT_MIME_TYPE]: MimeType.JSON,
    });
    messages.forEach((message, index) => {
      const prefix = `${SemanticConventions.LLM_INPUT_MESSAGES}.${index}`;
      span.setAttribute(`${prefix}.${SemanticConventions.MESSAGE_ROLE}`, message.role);
      span.setAttribute(`${prefix}.${SemanticConventions.MESSAGE_CONTENT}`, message.content);
    });
    try {
      const response = await fetch(`${openai}/chat/completions`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${process.env.OPENAI_API_KEY ?? 'any-key-for-the-fake'}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify({ model, messages }),
      });
      if (!response.ok) throw new Error(`the chat API answered ${response.status}: ${await response.text()}`);
      const { choices, usage } = await response.json();
      const answer = choices[0].message;
      const prefix = `${SemanticConventions.LLM_OUTPUT_MESSAGES}.0`;
      span.setAttributes({
        [OUTPUT_VALUE]: answer.content,
        [OUTPUT_MIME_TYPE]: MimeType.TEXT,
        [`${prefix}.${SemanticConventions.MESSAGE_ROLE}`]: answer.role,
        [`${prefix}.${SemanticConventions.MESSAGE_CONTENT}`]: answer.content,
        [LLM_TOKEN_COUNT_PROMPT]: usage.prompt_tokens,
        [LLM_TOKEN_COUNT_COMPLETION]: usage.completion_tokens,
        [LLM_TOKEN_COUNT_TOTAL]: usage.total_tokens,
      });
      span.setStatus({ code: SpanStatusCode.OK });
      return answer.content;
    } catch (error) {
      span.recordException(error);
      span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
      throw error;
    } finally {
      span.end();
    }
  });
}

try {
  console.log(await complete('gpt-4', [{ role: 'user', content: 'Hello!' }]));
} finally {
  // Spans wait in memory: without this a short program ends before they are sent.
  await sdk.shutdown();
}
