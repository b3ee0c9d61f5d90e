from tenacity import RetryError, Retrying, stop_after_attempt, wait_exponential


def program():
    slept, tried = [], []
    try:
        for attempt in Retrying(stop=stop_after_attempt(4), wait=wait_exponential(max=5), sleep=slept.append):
            with attempt:
                tried.append(attempt.retry_state.attempt_number)
                raise ValueError("no")
    except RetryError as error:
        return [tried, slept, type(error.last_attempt.exception()).__name__]
